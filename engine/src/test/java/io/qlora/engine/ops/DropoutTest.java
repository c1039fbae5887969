package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class DropoutTest extends OpTest {

    private static final StepKey STEP = new StepKey(42, 7);

    private final CpuDevice device = new CpuDevice(1);
    private final StepMemory memory = new StepMemory(device);

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    @Override
    public List<OpCase> cases() {
        return List.of(drops("one short row", 3, 1), drops("rows of vectors and a tail", 37, 3, 7));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(drops("4096 rows of 2048", 2048, 4096));
    }

    private static OpCase drops(String what, int cols, int... lengths) {
        return OpCase.of("Dropout of " + what, Dropout.Kernel.class)
                .activation("x", Arrays.stream(lengths).sum(), cols)
                .withoutNan() // a NaN that is dropped is gone
                .gives((tape, in) -> {
                    Sequences sequences = Sequences.of(tape.memory().activations(), 3, lengths);
                    return Dropout.apply(tape, in.get("x"), 0.4f, STEP, 11, sequences);
                });
    }

    /** The mask over ones, scaled: [T, cols]. */
    private float[] mask(float p, StepKey step, int site, int cols, int firstDocument, int... lengths) {
        try (Tape tape = Tape.inference(memory)) {
            int tokens = Arrays.stream(lengths).sum();
            float[] ones = new float[tokens * cols];
            Arrays.fill(ones, 1f);
            Sequences sequences = Sequences.of(memory.activations(), firstDocument, lengths);
            Tensor x = tape.empty(DType.F32, tokens, cols).set(ones);
            return Dropout.apply(tape, x, p, step, site, sequences).toFloats();
        }
    }

    @Test
    void dropsItsShareAndKeepsTheMean() {
        int n = 200 * 500;
        for (float p : new float[] {0.05f, 0.3f, 0.5f, 0.9f}) {
            float[] mask = mask(p, STEP, 1, 500, 0, 150, 50);
            int kept = 0;
            for (float m : mask) {
                if (m != 0) {
                    assertEquals((float) (1 / (1 - (double) p)), m);
                    kept++;
                }
            }
            double deviation = Math.sqrt(n * p * (1 - p));
            assertEquals(n * (1 - p), kept, 4 * deviation, "kept at p = " + p);
        }
    }

    @Test
    void neighboursInRowColumnDocumentStepAndSiteAreIndependent() {
        int cols = 500;
        float[] mask = mask(0.5f, STEP, 1, cols, 0, 100, 100);
        assertIndependent(mask, Arrays.copyOfRange(mask, 1, mask.length), "next column");
        assertIndependent(mask, Arrays.copyOfRange(mask, 4, mask.length), "next counter");
        assertIndependent(mask, Arrays.copyOfRange(mask, cols, mask.length), "next row");
        assertIndependent(mask, Arrays.copyOfRange(mask, 100 * cols, mask.length), "next document");
        assertIndependent(mask, mask(0.5f, STEP, 2, cols, 0, 100, 100), "next site");
        assertIndependent(mask, mask(0.5f, new StepKey(42, 8), 1, cols, 0, 100, 100), "next step");
        assertIndependent(mask, mask(0.5f, new StepKey(43, 7), 1, cols, 0, 100, 100), "next seed");
    }

    /** Two fair coins agree half of the time, within four standard deviations. */
    private static void assertIndependent(float[] a, float[] b, String what) {
        int agree = 0;
        for (int i = 0; i < b.length; i++) {
            agree += a[i] == b[i] ? 1 : 0;
        }
        assertEquals(b.length / 2.0, agree, 4 * Math.sqrt(b.length) / 2, what);
    }

    @Test
    void theMaskDoesNotDependOnHowAStepIsSplit() {
        float[] whole = mask(0.3f, STEP, 5, 37, 0, 4, 6, 3);
        float[] first = mask(0.3f, STEP, 5, 37, 0, 4);
        float[] rest = mask(0.3f, STEP, 5, 37, 1, 6, 3);
        assertArrayEquals(first, Arrays.copyOf(whole, first.length));
        assertArrayEquals(rest, Arrays.copyOfRange(whole, first.length, whole.length));
        assertFalse(Arrays.equals(first, Arrays.copyOf(mask(0.3f, STEP, 5, 37, 1, 4), first.length)));
    }

    @Test
    void thresholdAndScaleAreExactAtTheEnds() {
        assertEquals(1, new Dropout.Mask(Float.MIN_VALUE, STEP, 0).threshold());
        assertEquals(0x80000000, new Dropout.Mask(0.5f, STEP, 0).threshold());
        assertEquals(0xFFFFFF00, new Dropout.Mask(Math.nextDown(1f), STEP, 0).threshold());
        assertEquals(0x1p24f, new Dropout.Mask(Math.nextDown(1f), STEP, 0).scale());
    }

    @Test
    void nothingIsDroppedWithoutProbabilityOrStep() {
        try (Tape tape = Tape.inference(memory)) {
            Tensor x = memory.activations().empty(DType.F32, Shape.of(2, 3));
            Sequences sequences = Sequences.of(memory.activations(), 0, 2);
            assertSame(x, Dropout.apply(tape, x, 0f, STEP, 1, sequences));
            assertSame(x, Dropout.apply(tape, x, 0.5f, null, 1, sequences));
        }
    }

    @Test
    void refusesAProbabilityOfOneOrMore() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> mask(1f, STEP, 1, 3, 0, 1));
        assertEquals("Dropout: p should be from 0 to below 1, found 1.0", e.getMessage());
        assertThrows(IllegalArgumentException.class, () -> mask(Float.NaN, STEP, 1, 3, 0, 1));
        assertThrows(IllegalArgumentException.class, () -> mask(-0.1f, STEP, 1, 3, 0, 1));
    }
}
