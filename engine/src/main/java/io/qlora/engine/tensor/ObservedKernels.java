package io.qlora.engine.tensor;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** A device's kernels with somebody looking on: each behind a proxy of its contract that takes the time. */
final class ObservedKernels {

    private final KernelObserver observer;
    private final Map<Class<?>, Object> proxies = new ConcurrentHashMap<>();
    private final ThreadLocal<Boolean> inside = ThreadLocal.withInitial(() -> false);

    ObservedKernels(KernelObserver observer) {
        this.observer = observer;
    }

    /** {@code kernel}, observed. */
    Object of(Class<?> contract, Object kernel) {
        return proxies.computeIfAbsent(
                contract,
                type -> Proxy.newProxyInstance(
                        type.getClassLoader(),
                        new Class<?>[] {type},
                        (proxy, method, arguments) -> run(type, kernel, method, arguments)));
    }

    private Object run(Class<?> contract, Object kernel, Method method, Object[] arguments) throws Throwable {
        boolean outermost = !inside.get();
        inside.set(true);
        long start = System.nanoTime();
        try {
            Object result = method.invoke(kernel, arguments);
            if (outermost) {
                observer.ran(contract, method, arguments, System.nanoTime() - start);
            }
            return result;
        } catch (InvocationTargetException e) {
            throw e.getCause();
        } finally {
            inside.set(!outermost);
        }
    }
}
