package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Term;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** What must be right to the last bit: small integers are exact in bfloat16, and NF4's codes are the CPU's. */
class ExactTest {

    private static CudaDevice card() {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1000, true));
    }

    /** Integers from −4 to 4, and so are their products' sums exact. */
    private static float[] integers(String key, int count) {
        SplittableRandom random = new SplittableRandom(key.hashCode());
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.nextInt(9) - 4;
        }
        return values;
    }

    @Test
    void productsOfIntegersAreExactInEveryFormAtEveryEdge() {
        int[][] shapes = {{1, 1, 1}, {3, 5, 7}, {16, 8, 16}, {64, 64, 32}, {65, 70, 33}, {130, 257, 72}, {300, 200, 8}};
        try (CudaDevice card = card();
                ModelMemory memory = new ModelMemory(card)) {
            CudaMatMul product = new CudaMatMul(card);
            for (int[] shape : shapes) {
                for (Form form : Form.values()) {
                    check(product, form, shape[0], shape[1], shape[2], memory);
                }
            }
        }
    }

    /** {@code 2 + a·b + 3·a2·b2}, added to what is there. */
    private static void check(CudaMatMul product, Form form, int m, int n, int k, ModelMemory memory) {
        int k2 = 5;
        float[] a = integers("a", m * k);
        float[] b = integers("b", n * k);
        float[] a2 = integers("a2", m * k2);
        float[] b2 = integers("b2", n * k2);
        float[] expected = new float[m * n];
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                expected[i * n + j] = 2 + dot(form, a, b, i, j, m, n, k) + 3 * dot(form, a2, b2, i, j, m, n, k2);
            }
        }
        Tensor c = memory.empty(DType.F32, m, n).set(filled(m * n, 2));
        Term first = new Term(left(form, a, m, k, memory), right(form, b, n, k, memory));
        Term second = new Term(left(form, a2, m, k2, memory), right(form, b2, n, k2, memory));
        product.multiply(form, first, second, 3, new Grad(c, true));
        assertArrayEquals(expected, c.toFloats(), form + " of " + m + ", " + n + ", " + k);
    }

    private static float dot(Form form, float[] a, float[] b, int i, int j, int m, int n, int depth) {
        float sum = 0;
        for (int k = 0; k < depth; k++) {
            float x = form == Form.TN ? a[k * m + i] : a[i * depth + k];
            float y = form == Form.NT ? b[j * depth + k] : b[k * n + j];
            sum += x * y;
        }
        return sum;
    }

    private static Factor left(Form form, float[] values, int m, int k, ModelMemory memory) {
        return factor(values, form == Form.TN ? k : m, form == Form.TN ? m : k, memory);
    }

    private static Factor right(Form form, float[] values, int n, int k, ModelMemory memory) {
        return factor(values, form == Form.NT ? n : k, form == Form.NT ? k : n, memory);
    }

    private static Factor factor(float[] values, int rows, int cols, ModelMemory memory) {
        return Factor.of(memory.empty(DType.F32, rows, cols).set(values));
    }

    private static float[] filled(int count, float value) {
        float[] values = new float[count];
        Arrays.fill(values, value);
        return values;
    }

    /** Rows of six or twelve bytes, and whole eights of elements all the same: no vector may be loaded from there. */
    @Test
    void rowsThatBeginAnywhereAreAddedAndGated() {
        try (CudaDevice card = card();
                ModelMemory memory = new ModelMemory(card)) {
            for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                Tensor x = Uniform.fill(memory.empty(dtype, 9, 3), 1, 42, 1);
                Tensor y = Uniform.fill(memory.empty(dtype, 9, 3), 1, 42, 2);
                Tensor whole = memory.empty(dtype, 9, 3);
                Tensor rows = memory.empty(dtype, 9, 3);
                CudaAdd add = new CudaAdd(card);
                add.forward(x, y, whole);
                add.forward(x.rows(1, 9), y.rows(1, 9), rows.rows(1, 9));
                assertEquals(hex(whole.rows(1, 9)), hex(rows.rows(1, 9)));
                CudaSwiGlu gate = new CudaSwiGlu(card);
                gate.forward(x, y, whole);
                gate.forward(x.rows(1, 9), y.rows(1, 9), rows.rows(1, 9));
                assertEquals(hex(whole.rows(1, 9)), hex(rows.rows(1, 9)));
                gate.backward(x, y, x, new Grad(whole, false), null);
                gate.backward(x.rows(1, 9), y.rows(1, 9), x.rows(1, 9), new Grad(rows.rows(1, 9), false), null);
                assertEquals(hex(whole.rows(1, 9)), hex(rows.rows(1, 9)));
            }
        }
    }

    @Test
    void codesScalesAndDecodedWeightsOfNf4AreTheCpusToTheBit() {
        try (CudaDevice card = card();
                CpuDevice cpu = new CpuDevice(1)) {
            for (int[] shape : new int[][] {{1, 1}, {1, 64}, {3, 37}, {40, 172}, {70, 512}}) {
                for (boolean twice : new boolean[] {false, true}) {
                    float[] values = OpCase.normal("weight", shape[0], shape[1]);
                    values[values.length / 2] = 0;
                    assertEquals(quantized(cpu, values, shape, twice), quantized(card, values, shape, twice));
                }
            }
        }
    }

    @Test
    void uniformNumbersAreTheCpusToTheBit() {
        try (CudaDevice card = card();
                CpuDevice cpu = new CpuDevice(1)) {
            for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                assertEquals(uniform(cpu, dtype), uniform(card, dtype));
            }
        }
    }

    /** More than one piece of them, and no multiple of four. */
    private static String uniform(Device device, DType dtype) {
        try (ModelMemory memory = new ModelMemory(device)) {
            return hex(Uniform.fill(memory.empty(dtype, Uniform.PIECE + 1027), 0.3f, 42, 7));
        }
    }

    /** Everything a quantised weight holds, and what it decodes to, as text. */
    private static String quantized(Device device, float[] values, int[] shape, boolean twice) {
        try (ModelMemory memory = new ModelMemory(device)) {
            Tensor source = memory.empty(DType.F32, shape[0], shape[1]).set(values);
            Nf4Weight w = Nf4.quantize(source, twice, memory, device);
            String scales = switch (w.absmax()) {
                case Nf4Weight.Plain plain -> hex(plain.values());
                case Nf4Weight.Nested nested ->
                    hex(nested.codes()) + " " + hex(nested.absmax2()) + " " + nested.offset();
            };
            return hex(w.codes()) + " " + scales + " " + hex(Nf4.dequantize(w, memory));
        }
    }

    private static String hex(Tensor tensor) {
        byte[] bytes = new byte[Math.toIntExact(tensor.byteSize())];
        tensor.device().read(tensor, MemorySegment.ofArray(bytes));
        return HexFormat.of().formatHex(bytes);
    }
}
