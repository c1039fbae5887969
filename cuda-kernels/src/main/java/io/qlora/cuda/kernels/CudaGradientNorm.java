package io.qlora.cuda.kernels;

import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** {@link GradientNorm} by {@code optimizer.cu}: parts of all tensors in one launch, their sum in another. */
final class CudaGradientNorm implements GradientNorm.Kernel {

    private static final int RUN_BYTES = 16; // struct Run
    private static final int BLOCKS = 16; // a tensor

    private final CudaDevice device;
    private final CudaFunction squares;
    private final CudaFunction total;
    private final DeviceTable table;
    private final DeviceTable sums;

    CudaGradientNorm(CudaDevice device) {
        this.device = device;
        this.squares = device.function("optimizer", "sum_of_squares");
        this.total = device.function("optimizer", "norm_of_parts");
        this.table = new DeviceTable(device);
        this.sums = new DeviceTable(device);
    }

    private record Squares(Tensor runs, Tensor parts) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(runs).pointer(parts);
        }
    }

    private record Total(Tensor parts, int count, Tensor norm) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(parts).integer(count).pointer(norm);
        }
    }

    @Override
    public void norm(List<Tensor> tensors, Tensor norm) {
        Tensor runs;
        Tensor parts = sums.bytes((long) Double.BYTES * BLOCKS * Math.max(1, tensors.size()));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment rows = arena.allocate((long) RUN_BYTES * Math.max(1, tensors.size()), 8);
            for (int i = 0; i < tensors.size(); i++) {
                rows.setAtIndex(ValueLayout.JAVA_LONG, 2L * i, CudaAdamW.address(tensors.get(i)));
                rows.setAtIndex(
                        ValueLayout.JAVA_LONG, 2L * i + 1, tensors.get(i).size());
            }
            runs = table.of(rows); // the same at every step
        }
        device.launch(squares, new Shape(BLOCKS, tensors.size(), 1, Launches.THREADS, 0), new Squares(runs, parts));
        device.launch(total, Launches.rows(1), new Total(parts, BLOCKS * tensors.size(), norm));
    }
}
