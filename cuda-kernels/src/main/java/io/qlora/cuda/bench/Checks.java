package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Holds a card's kernels against the CPU's: with both types of activations, alone and on top of gradients that are there. */
final class Checks {

    private final CudaDevice card;
    private final CpuDevice cpu;

    Checks(CudaDevice card, CpuDevice cpu) {
        this.card = card;
        this.cpu = cpu;
    }

    /** The checks of a kernel at a size. */
    List<Check> of(CheckPlan.Item item, Size size) {
        KernelCase kernel = item.kernel();
        List<Check> checks = new ArrayList<>();
        for (boolean onTop : new boolean[] {false, true}) {
            List<Object> expected = run(kernel, size, cpu, DType.F32, onTop);
            for (DType activations : new DType[] {DType.F32, DType.BF16}) {
                List<Object> found = run(kernel, size, card, activations, onTop);
                double error = 0;
                for (int i = 0; i < expected.size(); i++) {
                    error = worse(error, difference(expected.get(i), found.get(i)));
                }
                String name = kernel.name() + item.way() + ", " + size.tokens() + " tokens, " + activations
                        + (onTop ? ", added" : "");
                checks.add(Check.of(name, error, kernel.precision().of(activations == DType.BF16)));
            }
        }
        return checks;
    }

    private static List<Object> run(KernelCase kernel, Size size, Device device, DType activations, boolean onTop) {
        try (Operands operands = new Operands(device, activations, onTop)) {
            kernel.preparation().on(operands, size).run().run();
            return operands.results().stream().map(Checks::elements).toList();
        }
    }

    /** As {@code float[]}, or of bytes as {@code byte[]}. */
    private static Object elements(Tensor tensor) {
        if (tensor.dtype().isFloat()) {
            return tensor.toFloats();
        }
        byte[] bytes = new byte[Math.toIntExact(tensor.byteSize())];
        tensor.device().read(tensor, MemorySegment.ofArray(bytes));
        return bytes;
    }

    private static double difference(Object expected, Object found) {
        if (expected instanceof byte[] bytes) {
            return Arrays.equals(bytes, (byte[]) found) ? 0 : 1;
        }
        float[] there = (float[]) expected;
        float[] here = (float[]) found;
        double largest = Float.MIN_NORMAL;
        double difference = 0;
        for (int i = 0; i < there.length; i++) {
            largest = Math.max(largest, Math.abs(there[i]));
            difference = worse(difference, Math.abs((double) there[i] - here[i]));
        }
        return difference / largest;
    }

    /** NaN is worst. */
    private static double worse(double a, double b) {
        return Math.max(a, b); // NaN if either is
    }
}
