package io.qlora.cuda.kernels;

import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** {@link AdamW} by {@code optimizer.cu}: all parameters in one launch. */
final class CudaAdamW implements AdamW.Kernel {

    private static final int SLOT_BYTES = 48; // struct Slot
    private static final int MOST_BLOCKS = 64; // a slot

    private final CudaDevice device;
    private final CudaFunction step;
    private final DeviceTable table;

    CudaAdamW(CudaDevice device) {
        this.device = device;
        this.step = device.function("optimizer", "adam_w");
        this.table = new DeviceTable(device);
    }

    private record StepArguments(Tensor slots, AdamW.Step step) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            AdamW.Options options = step.options();
            to.pointer(slots).real(step.meanWeight()).real(step.squareDecay()).real(step.squareWeight());
            to.real(step.squareCorrection()).real(step.epsilon()).real(step.gradientScale());
            to.doubleReal(step.learningRate()).doubleReal(options.weightDecay());
            to.doubleReal(1 - StrictMath.pow(options.beta1(), step.number()));
        }
    }

    @Override
    public void step(List<AdamW.Slot> slots, AdamW.Step now) {
        long largest = 0;
        Tensor rowsOnDevice;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment rows = arena.allocate((long) SLOT_BYTES * slots.size(), 8);
            for (int i = 0; i < slots.size(); i++) {
                write(rows.asSlice((long) i * SLOT_BYTES), slots.get(i));
                largest = Math.max(largest, slots.get(i).mean().size());
            }
            rowsOnDevice = table.of(rows); // the same at every step
        }
        int blocks = (int) Math.min(MOST_BLOCKS, (largest + Launches.THREADS - 1) / Launches.THREADS);
        Shape shape = new Shape(blocks, slots.size(), 1, Launches.THREADS, 0);
        device.launch(step, shape, new StepArguments(rowsOnDevice, now));
    }

    private static void write(MemorySegment row, AdamW.Slot slot) {
        row.set(ValueLayout.JAVA_LONG, 0, address(slot.parameter().value()));
        row.set(ValueLayout.JAVA_LONG, 8, address(slot.mean()));
        row.set(ValueLayout.JAVA_LONG, 16, address(slot.square()));
        row.set(ValueLayout.JAVA_LONG, 24, address(slot.parameter().gradient()));
        row.set(ValueLayout.JAVA_LONG, 32, slot.mean().size());
        row.set(ValueLayout.JAVA_DOUBLE, 40, slot.rateFactor());
    }

    static long address(Tensor tensor) {
        return ((DeviceBuffer) tensor.buffer()).address();
    }
}
