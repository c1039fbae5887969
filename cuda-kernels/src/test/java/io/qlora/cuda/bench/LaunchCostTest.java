package io.qlora.cuda.bench;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.emulation.WatchedDriver;
import org.junit.jupiter.api.Test;

class LaunchCostTest {

    private static final long WARM = 450_000_000; // ns
    private static final long SLOW = 20_000;

    /** A binding that the compiler needs a while for: what a launch costs then is what is told. */
    @Test
    void launchesAreMeasuredOnceTheCompilerIsDone() {
        EmulatedDriver real = new EmulatedDriver(EmulatedLibrary.load(), 1L << 20, 0);
        long[] first = new long[1];
        CudaDriver driver = WatchedDriver.of(real, (method, arguments) -> {
            if (!method.equals("launch")) {
                return null;
            }
            long now = System.nanoTime();
            first[0] = first[0] == 0 ? now : first[0];
            while (now - first[0] < WARM && System.nanoTime() - now < SLOW) {
                Thread.onSpinWait();
            }
            return true;
        });
        CudaDevice.Options options = new CudaDevice.Options(1 << 12, true);
        try (CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), options)) {
            double nanos = LaunchCost.nanos(driver, card);
            assertTrue(nanos < SLOW / 2.0, nanos + " ns");
        }
    }
}
