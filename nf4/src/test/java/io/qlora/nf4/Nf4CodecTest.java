package io.qlora.nf4;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.HostBuffer;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class Nf4CodecTest extends OpTest {

    private static final CpuDevice VECTOR = new CpuDevice(2, true);
    private static final CpuDevice SCALAR = new CpuDevice(2, false);

    @Override
    public List<OpCase> cases() {
        return List.of(thereAndBack("once", false), thereAndBack("twice", true));
    }

    private static OpCase thereAndBack(String how, boolean twice) {
        return OpCase.of("Nf4 of 7 rows of 83, quantised " + how + " and back", Nf4.Codec.class)
                .frozen("w", DType.F32, 7, 83)
                .gives((tape, in) -> {
                    Nf4Weight weight = Nf4.quantize(in.get("w"), twice, in.memory(), tape.device());
                    return Nf4.dequantize(weight, in.memory());
                });
    }

    static Stream<CpuDevice> devices() {
        return Stream.of(VECTOR, SCALAR);
    }

    @AfterAll
    static void close() {
        VECTOR.close();
        SCALAR.close();
    }

    @ParameterizedTest
    @MethodSource("devices")
    void agreesWithTheReferenceToTheBitOnRandomShapesAndTypes(CpuDevice cpu) {
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < 200; i++) {
            int out = random.nextInt(1, 40);
            int in = random.nextInt(1, 300);
            DType dtype = new DType[] {DType.F32, DType.F16, DType.BF16}[i % 3];
            assertAsReference(heavyTailed(out * in, random), dtype, out, in, cpu);
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void agreesWithTheReferenceWhereAMatrixIsManyTasks(CpuDevice cpu) {
        assertAsReference(heavyTailed(301 * 203, new SplittableRandom(2)), DType.BF16, 301, 203, cpu);
        assertAsReference(heavyTailed(128 * 256, new SplittableRandom(3)), DType.F32, 128, 256, cpu);
    }

    @ParameterizedTest
    @MethodSource("devices")
    void aMatrixOfOneElementIsKept(CpuDevice cpu) {
        for (float x : new float[] {-2.5f, 0, 1e-40f, 3}) {
            assertAsReference(new float[] {x}, DType.F32, 1, 1, cpu);
            try (ModelMemory memory = new ModelMemory(cpu)) {
                Tensor source = memory.empty(DType.F32, 1, 1).set(x);
                float expected = x == 1e-40f ? 0 : x; // below the smallest divisor
                assertEquals(
                        expected,
                        Nf4.dequantize(Nf4.quantize(source, false, memory, cpu), memory)
                                .item());
                assertEquals(
                        expected,
                        Nf4.dequantize(Nf4.quantize(source, true, memory, cpu), memory)
                                .item());
            }
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void anEmptyMatrixStaysEmpty(CpuDevice cpu) {
        try (ModelMemory memory = new ModelMemory(cpu)) {
            Tensor source = memory.empty(DType.F32, 0, 64);
            assertEquals(
                    0,
                    Nf4.dequantize(Nf4.quantize(source, true, memory, cpu), memory)
                            .size());
        }
    }

    @Test
    void weightsShareWhatIsNeededMeanwhile() {
        float[] values = heavyTailed(301 * 203, new SplittableRandom(4));
        try (ModelMemory memory = new ModelMemory(VECTOR);
                BumpPool passing = new BumpPool(VECTOR, 1 << 16)) {
            Tensor source = memory.empty(DType.F32, 301, 203).set(values);
            for (int i = 0; i < 3; i++) {
                Nf4Weight weight = Nf4.quantize(source, true, memory, passing, VECTOR);
                assertEquals(0, passing.used());
                Closeness.assertSameBits(
                        Nf4.dequantize(Nf4.quantize(source, true, memory, VECTOR), memory)
                                .toFloats(),
                        Nf4.dequantize(weight, memory).toFloats(),
                        "decoded");
            }
            assertEquals(955 * 4, passing.peak()); // a scale for each 64 of 61103
            assertEquals(1 << 16, passing.capacity());
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void zerosAreCodeSevenInWholeAndShortBlocks(CpuDevice cpu) {
        try (ModelMemory memory = new ModelMemory(cpu)) {
            Nf4Weight weight = Nf4.quantize(memory.zeros(DType.F32, 3, 49), false, memory, cpu);
            byte[] sevens = new byte[(3 * 49 + 1) / 2];
            Arrays.fill(sevens, (byte) 0x77);
            assertArrayEquals(sevens, bytes(weight.codes()));
            Closeness.assertSameBits(
                    new float[3 * 49], Nf4.dequantize(weight, memory).toFloats(), "decoded");
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void aTieTakesTheLowerCode(CpuDevice cpu) {
        float[] x = new float[128]; // absmax 1, so that elements are compared as they are
        float[] midpoints = Nf4.midpoints();
        for (int i = 0; i < midpoints.length; i++) {
            x[i] = midpoints[i];
            x[64 + i] = Math.nextUp(midpoints[i]);
        }
        x[63] = 1;
        x[127] = 1;
        try (ModelMemory memory = new ModelMemory(cpu)) {
            Tensor source = memory.empty(DType.F32, 1, 128).set(x);
            byte[] codes = bytes(Nf4.quantize(source, false, memory, cpu).codes());
            for (int i = 0; i < midpoints.length; i++) {
                assertEquals(i, code(codes, i), "at midpoint " + i);
                assertEquals(i + 1, code(codes, 64 + i), "just above midpoint " + i);
            }
        }
    }

    /** Where a product by the reciprocal and a quotient, or a clamp, or the order of a comparison would make a difference. */
    @ParameterizedTest
    @MethodSource("devices")
    void agreesWithTheReferenceWithinAUnitOfEveryMidpoint(CpuDevice cpu) {
        SplittableRandom random = new SplittableRandom(8);
        float[] midpoints = Nf4.midpoints();
        for (int length : new int[] {64 * 64, 64 * 64 + 50, 63}) {
            float[] x = new float[length];
            float absmax = 0;
            for (int i = 0; i < length; i++) {
                absmax = i % 64 == 0 ? (float) random.nextDouble(0.5, 2) : absmax;
                float tie = absmax * midpoints[random.nextInt(15)];
                x[i] = i % 64 == 0 ? absmax : tie + random.nextInt(-1, 2) * Math.ulp(tie);
            }
            assertAsReference(x, DType.F32, 1, length, cpu);
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void aTieBetweenEntriesOfTheDynamicMapTakesTheLower(CpuDevice cpu) {
        float[] map = Nf4.dynamicMap();
        float[] scales = new float[256];
        scales[255] = 1; // the largest, so that the others are compared as they are
        int ties = 0;
        for (int i = 0; i < 255; i++) {
            double middle = ((double) map[i] + map[i + 1]) / 2;
            boolean exact = middle == (float) middle;
            scales[i] = exact ? (float) middle : map[i];
            ties += exact ? 1 : 0;
        }
        assertTrue(ties > 50, ties + " ties");
        try (ModelMemory memory = new ModelMemory(cpu)) {
            Tensor absmax = memory.empty(DType.F32, 256).set(scales);
            Tensor codes = memory.empty(DType.U8, 256);
            cpu.kernel(Nf4.Codec.class).quantizeAbsmax(absmax, 0, codes, memory.empty(DType.F32, 1));
            for (int i = 0; i < 256; i++) {
                assertEquals(i, bytes(codes)[i] & 0xff);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void verySmallAndVeryLargeBlocksAgreeWithTheReference(CpuDevice cpu) {
        float[] x = heavyTailed(6 * 64 + 10, new SplittableRandom(4));
        float[] factors = {1e-39f, 1e-36f, 1e38f, Float.MIN_VALUE, 3e-38f, 1, 1e-40f};
        for (int i = 0; i < x.length; i++) {
            x[i] = Math.clamp(x[i], -3, 3) * factors[i / 64];
        }
        assertAsReference(x, DType.F32, 1, x.length, cpu);
    }

    @ParameterizedTest
    @MethodSource("devices")
    void aNanTakesItsBlockAlongAndNoOther(CpuDevice cpu) {
        float[] x = heavyTailed(4 * 64 + 9, new SplittableRandom(5));
        x[70] = Float.NaN;
        x[4 * 64 + 3] = Float.NaN;
        try (ModelMemory memory = new ModelMemory(cpu)) {
            Tensor source = memory.empty(DType.F32, 1, x.length).set(x);
            float[] plain = Nf4.dequantize(Nf4.quantize(source, false, memory, cpu), memory)
                    .toFloats();
            float[] nested = Nf4.dequantize(Nf4.quantize(source, true, memory, cpu), memory)
                    .toFloats();
            byte[] codes = bytes(Nf4.quantize(source, false, memory, cpu).codes());
            for (int i = 0; i < x.length; i++) {
                boolean struck = i / 64 == 1 || i / 64 == 4;
                assertEquals(struck, Float.isNaN(plain[i]), "element " + i);
                assertTrue(!struck || code(codes, i) == 15, "code " + i);
                assertTrue(Float.isNaN(nested[i]), "element " + i + ", whose offset is a mean with a NaN");
            }
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void anInfinityMakesItsBlockNanOrInfinite(CpuDevice cpu) {
        float[] x = heavyTailed(3 * 64, new SplittableRandom(6));
        x[70] = Float.NEGATIVE_INFINITY;
        try (ModelMemory memory = new ModelMemory(cpu)) {
            Tensor source = memory.empty(DType.F32, 3, 64).set(x);
            float[] decoded = Nf4.dequantize(Nf4.quantize(source, false, memory, cpu), memory)
                    .toFloats();
            for (int i = 0; i < x.length; i++) {
                assertEquals(i / 64 != 1, Float.isFinite(decoded[i]), "element " + i);
            }
        }
    }

    @Test
    void takesMemoryThatIsAlignedToNothing() {
        try (ModelMemory memory = new ModelMemory(VECTOR)) {
            float[] x = heavyTailed(7 * 65, new SplittableRandom(7));
            Tensor aligned = tensor(x, DType.BF16, memory, 7, 65);
            MemorySegment segment =
                    memory.empty(DType.U8, aligned.byteSize() + 1).segment().asSlice(1);
            segment.copyFrom(aligned.segment());
            Tensor shifted = new Tensor(DType.BF16, aligned.shape(), new HostBuffer(segment), VECTOR);
            Nf4Weight expected = Nf4.quantize(aligned, true, memory, VECTOR);
            Nf4Weight actual = Nf4.quantize(shifted, true, memory, VECTOR);
            assertArrayEquals(bytes(expected.codes()), bytes(actual.codes()));
        }
    }

    @Test
    void refusesIntegers() {
        try (ModelMemory memory = new ModelMemory(VECTOR)) {
            Tensor source = memory.zeros(DType.I32, 2, 64);
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> Nf4.quantize(source, false, memory, VECTOR));
            assertEquals("Nf4.quantize: source should be F32, F16 or BF16, found I32 [2, 64]", e.getMessage());
        }
    }

    @Test
    void takesLittleMoreThanFourBitsAWeight() {
        try (ModelMemory memory = new ModelMemory(VECTOR)) {
            Tensor source = memory.zeros(DType.BF16, 1024, 1024);
            double bits = 8.0 * Nf4.quantize(source, true, memory, VECTOR).byteSize() / source.size();
            assertEquals(4.127, bits, 0.01); // the map is a part of a small weight
        }
    }

    @Test
    void sixteenBitSourcesAreNeverWholeInFloat32() {
        try (CpuDevice cpu = new CpuDevice(1);
                ModelMemory memory = new ModelMemory(cpu)) {
            Tensor source = memory.zeros(DType.BF16, 1024, 1024);
            Tensor codes = memory.empty(DType.U8, source.size() / 2);
            Tensor absmax = memory.empty(DType.F32, source.size() / 64);
            Nf4.Codec codec = cpu.kernel(Nf4.Codec.class);
            long enough = 4 * source.size() / 2;
            long heap = Allocation.least(enough, () -> codec.quantize(source, codes, absmax));
            assertTrue(heap <= enough, "allocated " + heap + " bytes for " + source);
        }
    }

    private static void assertAsReference(float[] values, DType dtype, int out, int in, CpuDevice cpu) {
        try (ModelMemory memory = new ModelMemory(cpu)) {
            String what = dtype + " [" + out + ", " + in + "]";
            Tensor source = tensor(values, dtype, memory, out, in);
            float[] x = new float[values.length];
            for (int i = 0; i < x.length; i++) {
                x[i] = Floats.get(source, i);
            }
            int[] codes = ReferenceNf4.codes(x);
            float[] absmax = ReferenceNf4.absmax(x);

            Nf4Weight plain = Nf4.quantize(source, false, memory, cpu);
            assertArrayEquals(ReferenceNf4.pack(codes), bytes(plain.codes()), what);
            Closeness.assertSameBits(
                    absmax, ((Nf4Weight.Plain) plain.absmax()).values().toFloats(), what);
            float[] decoded = Nf4.dequantize(plain, memory).toFloats();
            Closeness.assertSameBits(ReferenceNf4.decode(codes, absmax), decoded, what);

            Nf4Weight twice = Nf4.quantize(source, true, memory, cpu);
            Nf4Weight.Nested nested = (Nf4Weight.Nested) twice.absmax();
            assertArrayEquals(bytes(plain.codes()), bytes(twice.codes()), what);
            byte[] absmaxCodes = ReferenceNf4.absmaxCodes(absmax, nested.offset());
            assertArrayEquals(absmaxCodes, bytes(nested.codes()), what);
            float[] absmax2 = ReferenceNf4.absmax2(absmax, nested.offset());
            Closeness.assertSameBits(absmax2, nested.absmax2().toFloats(), what);
            float[] scales = ReferenceNf4.decodeAbsmax(absmaxCodes, absmax2, nested.offset());
            float[] twiceDecoded = Nf4.dequantize(twice, memory).toFloats();
            Closeness.assertSameBits(ReferenceNf4.decode(codes, scales), twiceDecoded, what);
        }
    }

    private static Tensor tensor(float[] values, DType dtype, ModelMemory memory, int out, int in) {
        Tensor tensor = memory.empty(dtype, out, in);
        for (int i = 0; i < values.length; i++) {
            switch (dtype) {
                case F32 -> tensor.segment().setAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i, values[i]);
                case F16 ->
                    tensor.segment().setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, Float.floatToFloat16(values[i]));
                default ->
                    tensor.segment().setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, (short)
                            (Float.floatToRawIntBits(values[i]) >>> 16));
            }
        }
        return tensor;
    }

    /** Normal, cubed, with a run of zeros somewhere. */
    private static float[] heavyTailed(int length, SplittableRandom random) {
        float[] values = new float[length];
        for (int i = 0; i < length; i++) {
            values[i] = (float) Math.pow(random.nextGaussian(), 3);
        }
        int start = random.nextInt(length);
        Arrays.fill(values, start, Math.min(length, start + 100), 0);
        return values;
    }

    private static int code(byte[] packed, int i) {
        return i % 2 == 0 ? (packed[i / 2] >> 4) & 15 : packed[i / 2] & 15;
    }

    private static byte[] bytes(Tensor tensor) {
        return tensor.segment().toArray(ValueLayout.JAVA_BYTE);
    }
}
