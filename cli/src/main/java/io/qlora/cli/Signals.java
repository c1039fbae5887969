package io.qlora.cli;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;

/** What the JVM does with signals, by its module jdk.unsupported, which a JVM need not have. */
final class Signals {

    private Signals() {}

    /**
     * From now on Ctrl-C ends the process at once, also one that is ending and waits for its shutdown hooks; returns false if
     * that cannot be had. Not by the system's own default, which the first process of a container has not.
     *
     * @param status exit code
     */
    static boolean endAtInterrupt(int status) {
        InvocationHandler end = (_, method, _) -> {
            if (method.getName().equals("handle")) {
                Runtime.getRuntime().halt(status);
            }
            return null;
        };
        try { // by reflection: the compiler's warning of this module cannot be switched off
            Class<?> signal = Class.forName("sun.misc.Signal");
            Class<?> handler = Class.forName("sun.misc.SignalHandler");
            Object ending = Proxy.newProxyInstance(Signals.class.getClassLoader(), new Class<?>[] {handler}, end);
            signal.getMethod("handle", signal, handler)
                    .invoke(null, signal.getConstructor(String.class).newInstance("INT"), ending);
            return true;
        } catch (ReflectiveOperationException e) { // there is no such module, or -Xrs has the JVM leave signals alone
            return false;
        }
    }
}
