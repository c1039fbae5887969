package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** What the host spends on a launch: of a kernel that ends at once, so often that none has to wait for the card. */
final class LaunchCost {

    private static final int BURST = 256; // below what a driver queues
    private static final int BURSTS = 40; // measured
    private static final long WARM_UP_NANOS = 500_000_000; // after which the compiler is done with this binding

    private LaunchCost() {}

    /**
     * Nanoseconds of a launch through a driver.
     *
     * @param driver of the context that is current
     */
    static double nanos(CudaDriver driver, CudaDevice card) {
        long module = driver.loadModule(card.code().image("add"));
        long stream = driver.createStream();
        try (Arena arena = Arena.ofConfined()) {
            long function = driver.function(module, "add_forward_f32");
            CudaDriver.Shape shape = CudaDriver.Shape.of(1, 32);
            MemorySegment arguments = nothing(arena);
            Runnable burst = () -> {
                for (int i = 0; i < BURST; i++) {
                    driver.launch(function, shape, stream, arguments);
                }
            };
            long begun = System.nanoTime();
            while (System.nanoTime() - begun < WARM_UP_NANOS) {
                burst.run();
                driver.synchronizeStream(stream);
            }
            double[] nanos = new double[BURSTS];
            for (int b = 0; b < BURSTS; b++) {
                long start = System.nanoTime();
                burst.run();
                nanos[b] = (System.nanoTime() - start) / (double) BURST;
                driver.synchronizeStream(stream);
            }
            Arrays.sort(nanos);
            return nanos[BURSTS / 2];
        } finally {
            driver.synchronizeStream(stream);
            driver.destroyStream(stream);
            driver.unloadModule(module);
        }
    }

    /** The addresses of {@code add}'s arguments: three pointers, none of them used, and no elements. */
    private static MemorySegment nothing(Arena arena) {
        MemorySegment values = arena.allocate(8L * 4, 8);
        MemorySegment addresses = arena.allocate(8L * 4, 8);
        for (int i = 0; i < 4; i++) {
            addresses.setAtIndex(ValueLayout.JAVA_LONG, i, values.address() + 8L * i);
        }
        return addresses;
    }
}
