package io.qlora.cuda.emulation;

import io.qlora.cuda.driver.CudaDriver;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;

/** A driver whose calls somebody sees first, and may answer. */
public final class WatchedDriver {

    /** Sees a call. */
    @FunctionalInterface
    public interface Hook {
        /** The answer, or null to have the driver called. */
        Object call(String method, Object[] arguments);
    }

    private WatchedDriver() {}

    /** This driver behind a hook. */
    public static CudaDriver of(CudaDriver driver, Hook hook) {
        Class<?>[] type = {CudaDriver.class};
        return (CudaDriver) Proxy.newProxyInstance(type[0].getClassLoader(), type, (proxy, method, arguments) -> {
            Object answer = hook.call(method.getName(), arguments);
            if (answer != null) {
                return method.getReturnType() == void.class ? null : answer;
            }
            try {
                return method.invoke(driver, arguments);
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
        });
    }
}
