package io.qlora.nf4;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;

class Nf4LinearTest extends OpTest {

    private static final CpuDevice CPU = new CpuDevice(2);

    /** {rows of x, out, in}: rows of whole blocks and not, odd sizes, more than one panel or task, one token and few. */
    private static final int[][] SHAPES = {
        {1, 1, 1}, {1, 3, 64}, {1, 5, 192}, {1, 70, 37}, {2, 33, 128}, {3, 9, 65}, {4, 17, 64}, {5, 40, 7},
        {7, 65, 320}, {6, 3, 576}, {9, 300, 64}, {9, 300, 50}, {13, 64, 172}, {8, 31, 333}, {6, 10, 1}, {6, 1, 128}
    };

    @AfterAll
    static void close() {
        CPU.close();
    }

    @Override
    public List<OpCase> cases() {
        return List.of(
                linear("whole blocks, one token", false, 1, 5, 128),
                linear("whole blocks, several tokens", true, 5, 3, 64),
                linear("an odd number of blocks", true, 2, 3, 192),
                linear("blocks that straddle rows, one token", true, 1, 7, 37),
                linear("blocks that straddle rows, several tokens", false, 5, 11, 27));
    }

    private static OpCase linear(String what, boolean twice, int rows, int out, int in) {
        return OpCase.of("Nf4Linear of " + what, Nf4Linear.Kernel.class)
                .activation("x", rows, in)
                .frozen("w", DType.BF16, out, in)
                .gives((tape, inputs) -> {
                    Nf4Weight w = Nf4.quantize(inputs.get("w"), twice, inputs.memory(), tape.device());
                    return Nf4Linear.apply(tape, inputs.get("x"), w);
                });
    }

    /** Every element of W' is met once, alone: decoded in the product as by the codec, in the place where it belongs. */
    @Test
    void theProductWithTheIdentityIsTheDecodedMatrixToTheBit() {
        for (int[] shape : SHAPES) {
            int out = shape[1];
            int in = shape[2];
            for (boolean twice : new boolean[] {false, true}) {
                try (ModelMemory memory = new ModelMemory(CPU)) {
                    Nf4Weight w = weight(out, in, twice, memory);
                    float[] expected = positiveZeros(Nf4.dequantize(w, memory).toFloats());
                    Nf4Linear.Kernel kernel = CPU.kernel(Nf4Linear.Kernel.class);

                    Tensor y = memory.empty(DType.F32, in, out);
                    kernel.forward(identity(in, memory), w, y);
                    float[] forward = positiveZeros(transpose(y.toFloats(), in, out));
                    Closeness.assertSameBits(expected, forward, "forward, " + w);

                    Tensor identity = identity(in, memory);
                    for (int i = 0; i < in; i++) { // the product of few rows is another one
                        kernel.forward(identity.rows(i, i + 1), w, y.rows(i, i + 1));
                    }
                    float[] rowByRow = positiveZeros(transpose(y.toFloats(), in, out));
                    Closeness.assertSameBits(expected, rowByRow, "forward row by row, " + w);

                    Tensor dx = memory.empty(DType.F32, out, in);
                    kernel.backward(w, identity(out, memory), new Grad(dx, false));
                    Closeness.assertSameBits(expected, positiveZeros(dx.toFloats()), "backward, " + w);
                }
            }
        }
    }

    @Test
    void agreesWithTheDenseLinearOfTheDecodedMatrix() {
        for (int[] shape : SHAPES) {
            try (ModelMemory memory = new ModelMemory(CPU)) {
                Nf4Weight w = weight(shape[1], shape[2], true, memory);
                Tensor dense = Nf4.dequantize(w, memory);
                Tensor x = normal("x", memory, shape[0], shape[2]);
                Tensor y = memory.empty(DType.F32, shape[0], shape[1]);
                Tensor dy = normal("dy", memory, shape[0], shape[1]);
                Tensor dx = normal("dx", memory, shape[0], shape[2]);
                Linear.Kernel linear = CPU.kernel(Linear.Kernel.class);
                linear.forward(x, dense, y);
                linear.backward(x, dense, dy, new Grad(dx, true), null);
                float[] expected = y.toFloats();
                float[] gradient = dx.toFloats();

                Nf4Linear.Kernel kernel = CPU.kernel(Nf4Linear.Kernel.class);
                kernel.forward(x, w, y);
                kernel.backward(w, dy, new Grad(normalInto("dx", dx), true));
                Closeness.assertClose(expected, y.toFloats(), 1e-6, "y, " + w);
                Closeness.assertClose(gradient, dx.toFloats(), 1e-6, "dx, " + w);
            }
        }
    }

    @Test
    void theDecodedMatrixIsNeverWholeInMemory() {
        int size = 1024;
        for (int width : new int[] {size, size - 20}) { // whole blocks, and straddling ones
            try (CpuDevice cpu = new CpuDevice(1);
                    ModelMemory memory = new ModelMemory(cpu)) {
                Nf4Weight w = Nf4.quantize(memory.zeros(DType.BF16, size, width), true, memory, cpu);
                for (int rows : new int[] {1, 6}) {
                    Tensor x = memory.zeros(DType.F32, rows, width);
                    Tensor y = memory.empty(DType.F32, rows, size);
                    Nf4Linear.Kernel kernel = cpu.kernel(Nf4Linear.Kernel.class);
                    long enough = 4L * size * width / 2;
                    long heap = Allocation.least(enough, () -> {
                        kernel.forward(x, w, y);
                        kernel.backward(w, y, new Grad(x, false));
                    });
                    assertTrue(heap <= enough, "allocated " + heap + " bytes for " + w);
                }
            }
        }
    }

    @Test
    void aWeightOfEitherKindIsApplied() {
        try (ModelMemory memory = new ModelMemory(CPU);
                StepMemory step = new StepMemory(CPU);
                Tape tape = Tape.inference(step)) {
            Nf4Weight quantised = weight(20, 70, true, memory);
            Weight dense = new DenseWeight(Nf4.dequantize(quantised, memory));
            Tensor x = normal("x", memory, 6, 70);
            float[] expected = WeightLinear.apply(tape, x, dense).toFloats();
            Closeness.assertClose(
                    expected, WeightLinear.apply(tape, x, quantised).toFloats(), 1e-6, "y");
        }
    }

    @Test
    void refusesAnInputOfAnotherWidth() {
        try (ModelMemory memory = new ModelMemory(CPU);
                StepMemory step = new StepMemory(CPU);
                Tape tape = Tape.inference(step)) {
            Nf4Weight w = weight(4, 64, false, memory);
            Tensor x = memory.zeros(DType.F32, 2, 63);
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> Nf4Linear.apply(tape, x, w));
            assertEquals("Nf4Linear: x should be F32 [*, 64], found F32 [2, 63]", e.getMessage());
        }
    }

    private static Nf4Weight weight(int out, int in, boolean twice, ModelMemory memory) {
        return Nf4.quantize(normal("w", memory, out, in), twice, memory, CPU);
    }

    private static Tensor normal(String key, ModelMemory memory, int rows, int cols) {
        return normalInto(key, memory.empty(DType.F32, rows, cols));
    }

    private static Tensor normalInto(String key, Tensor tensor) {
        return tensor.set(OpCase.normal(key, tensor.shape().dims()));
    }

    private static Tensor identity(int size, ModelMemory memory) {
        float[] values = new float[size * size];
        for (int i = 0; i < size; i++) {
            values[i * size + i] = 1;
        }
        return memory.empty(DType.F32, size, size).set(values);
    }

    private static float[] transpose(float[] values, int rows, int cols) {
        float[] transposed = new float[values.length];
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < cols; c++) {
                transposed[c * rows + r] = values[r * cols + c];
            }
        }
        return transposed;
    }

    /** A sum with zeros has lost the sign of a zero. */
    private static float[] positiveZeros(float[] values) {
        for (int i = 0; i < values.length; i++) {
            values[i] += 0f;
        }
        return values;
    }
}
