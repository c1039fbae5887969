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
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** What must be right to the last bit: small integers are exact in bfloat16, and NF4's codes are the CPU's. */
public class ExactTest {

    private static final int ORDERS = 3; // of a block's threads
    private static final int[][] WEIGHTS = {{1, 1}, {1, 64}, {3, 37}, {40, 172}, {70, 512}};

    private static CudaDevice card() {
        return card(0);
    }

    private static CudaDevice card(int order) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, order);
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
        try (CpuDevice cpu = new CpuDevice(1)) {
            List<String> expected = quantized(cpu);
            for (int order = 0; order < ORDERS; order++) {
                try (CudaDevice card = card(order)) {
                    assertEquals(expected, quantized(card));
                }
            }
        }
    }

    @Test
    void uniformNumbersAreTheCpusToTheBit() {
        try (CpuDevice cpu = new CpuDevice(1)) {
            for (int order = 0; order < ORDERS; order++) {
                try (CudaDevice card = card(order)) {
                    for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                        assertEquals(uniform(cpu, dtype), uniform(card, dtype));
                    }
                }
            }
        }
    }

    /** Runs what is compared here, on a device whose memory is looked after by somebody else. */
    public static void run(Device device) {
        quantized(device);
        uniform(device, DType.F32);
        uniform(device, DType.BF16);
    }

    /** More than one piece of them, and no multiple of four. */
    private static String uniform(Device device, DType dtype) {
        try (ModelMemory memory = new ModelMemory(device)) {
            return hex(Uniform.fill(memory.empty(dtype, Uniform.PIECE + 1027), 0.3f, 42, 7));
        }
    }

    private static List<String> quantized(Device device) {
        List<String> all = new ArrayList<>();
        for (int[] shape : WEIGHTS) {
            float[] values = OpCase.normal("weight", shape[0], shape[1]);
            values[values.length / 2] = 0;
            all.add(quantized(device, values, shape, false));
            all.add(quantized(device, values, shape, true));
        }
        return all;
    }

    /** Everything a quantised weight holds, and what it decodes to in float32 and bfloat16, as text. */
    private static String quantized(Device device, float[] values, int[] shape, boolean twice) {
        try (ModelMemory memory = new ModelMemory(device)) {
            Tensor source = memory.empty(DType.F32, shape[0], shape[1]).set(values);
            Nf4Weight w = Nf4.quantize(source, twice, memory, device);
            String scales = switch (w.absmax()) {
                case Nf4Weight.Plain plain -> hex(plain.values());
                case Nf4Weight.Nested nested ->
                    hex(nested.codes()) + " " + hex(nested.absmax2()) + " " + nested.offset();
            };
            Tensor decoded = Nf4.dequantize(w, memory);
            return String.join(" ", hex(w.codes()), scales, hex(decoded), half(device, w, decoded, memory));
        }
    }

    /** A card decodes to bfloat16 at once; here what that should be. */
    private static String half(Device device, Nf4Weight w, Tensor decoded, ModelMemory memory) {
        if (device instanceof CpuDevice) {
            short[] halves = new short[(int) decoded.size()];
            float[] full = decoded.toFloats();
            for (int i = 0; i < halves.length; i++) {
                int bits = Float.floatToRawIntBits(full[i]);
                halves[i] = (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
            }
            return hex(MemorySegment.ofArray(halves).toArray(ValueLayout.JAVA_BYTE));
        }
        Tensor half = memory.empty(DType.BF16, w.out(), w.in());
        device.kernel(Nf4.Codec.class).dequantize(w, half);
        return hex(half);
    }

    private static String hex(Tensor tensor) {
        byte[] bytes = new byte[Math.toIntExact(tensor.byteSize())];
        tensor.device().read(tensor, MemorySegment.ofArray(bytes));
        return hex(bytes);
    }

    private static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }
}
