package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class AttentionTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                attends("documents of one token and two", 1, 1, 4, 1, 2),
                attends("documents shorter than a tile, in groups of two", 4, 2, 6, 1, 5, 3),
                attends("one group of three heads, narrower than a vector", 3, 1, 3, 7, 2),
                attends("a document of two blocks of keys", 2, 1, 20, 67, 9).large(),
                attends("documents around the sizes of blocks", 2, 2, 8, 64, 65, 128, 31)
                        .large(),
                attends("several tasks of one document", 4, 4, 16, 200).large(),
                attends("heads wider than a square", 2, 1, 80, 40, 3).large());
    }

    @Override
    public List<OpCase> measured() {
        return List.of(
                attends("256 tokens, 12 heads of 64", 12, 12, 64, 256),
                attends("2048 tokens, 12 heads of 64", 12, 12, 64, 2048),
                attends("2048 tokens, 32 heads of 64 and 4", 32, 4, 64, 2048));
    }

    private static OpCase attends(String what, int heads, int kvHeads, int size, int... lengths) {
        int tokens = Arrays.stream(lengths).sum();
        return OpCase.of("Attention of " + what, Attention.Kernel.class)
                .activation("q", tokens, (long) heads * size)
                .activation("k", tokens, (long) kvHeads * size)
                .activation("v", tokens, (long) kvHeads * size)
                .gives((tape, in) -> Attention.apply(
                        tape,
                        in.get("q"),
                        in.get("k"),
                        in.get("v"),
                        Sequences.of(tape.memory().activations(), 0, lengths),
                        heads,
                        kvHeads));
    }

    /** q, k, v of one forward and backward pass; the gradient given to the output is zero but for {@code row}. */
    private record Pass(float[] y, float[] dq, float[] dk, float[] dv, long peak) {

        static final int HEADS = 4;
        static final int KV_HEADS = 2;
        static final int SIZE = 24; // more than a vector, and not whole ones

        static Pass of(float[] q, float[] k, float[] v, int row, int... lengths) {
            try (CpuDevice device = new CpuDevice(2);
                    ModelMemory model = new ModelMemory(device);
                    StepMemory step = new StepMemory(device)) {
                int tokens = Arrays.stream(lengths).sum();
                Parameter dq = leaf("q", q, model, tokens, HEADS * SIZE);
                Parameter dk = leaf("k", k, model, tokens, KV_HEADS * SIZE);
                Parameter dv = leaf("v", v, model, tokens, KV_HEADS * SIZE);
                Sequences sequences = Sequences.of(step.activations(), 0, lengths);
                long before = step.activations().used();
                try (Tape tape = Tape.recording(step, new Parameters(List.of(dq, dk, dv)))) {
                    Tensor y = Attention.apply(tape, dq.value(), dk.value(), dv.value(), sequences, HEADS, KV_HEADS);
                    float[] output = y.toFloats();
                    Tensor loss = tape.empty(DType.F32, 1).set(0f);
                    tape.record(loss, List.of(y), (dLoss, gradients) -> {
                        float[] dy = new float[output.length];
                        Arrays.fill(dy, row * HEADS * SIZE, (row + 1) * HEADS * SIZE, 1f);
                        gradients.wanted(y).tensor().set(dy);
                    });
                    tape.backward(loss);
                    return new Pass(
                            output,
                            dq.gradient().toFloats(),
                            dk.gradient().toFloats(),
                            dv.gradient().toFloats(),
                            step.activations().peak() - before);
                }
            }
        }

        private static Parameter leaf(String name, float[] values, ModelMemory model, int rows, int cols) {
            return Parameter.of(name, model.empty(DType.F32, rows, cols).set(values), model);
        }
    }

    private static float[] queries(int tokens) {
        return OpCase.normal("queries", tokens, Pass.HEADS * Pass.SIZE);
    }

    private static float[] keys(int tokens) {
        return OpCase.normal("keys", tokens, Pass.KV_HEADS * Pass.SIZE);
    }

    private static float[] values(int tokens) {
        return OpCase.normal("values", tokens, Pass.KV_HEADS * Pass.SIZE);
    }

    @Test
    void gradientReachesEarlierKeysAndValues() {
        int tokens = 90;
        int last = 80;
        Pass pass = Pass.of(queries(tokens), keys(tokens), values(tokens), last, tokens);
        int cols = Pass.KV_HEADS * Pass.SIZE;
        for (int i = 0; i < tokens * cols; i++) {
            boolean seen = i / cols <= last;
            assertEquals(seen, pass.dk[i] != 0, "gradient of element " + i + " of the keys");
            assertEquals(seen, pass.dv[i] != 0, "gradient of element " + i + " of the values");
        }
        for (int i = 0; i < pass.dq.length; i++) {
            boolean own = i / (Pass.HEADS * Pass.SIZE) == last;
            assertEquals(own, pass.dq[i] != 0, "gradient of element " + i + " of the queries");
        }
    }

    @Test
    void documentsDoNotSeeEachOther() {
        int[] lengths = {5, 70, 33};
        int tokens = 108;
        Pass before = Pass.of(queries(tokens), keys(tokens), values(tokens), 40, lengths);
        float[] k = keys(tokens);
        float[] v = values(tokens);
        int cols = Pass.KV_HEADS * Pass.SIZE;
        Arrays.fill(k, 0, 5 * cols, Float.NaN); // all of the first document
        Arrays.fill(v, 0, 5 * cols, Float.NaN);
        Arrays.fill(k, 75 * cols, tokens * cols, 1e30f); // and of the last
        Arrays.fill(v, 75 * cols, tokens * cols, Float.POSITIVE_INFINITY);
        Pass after = Pass.of(queries(tokens), k, v, 40, lengths);
        int width = Pass.HEADS * Pass.SIZE;
        assertSameRows(before.y, after.y, width, "outputs");
        assertSameRows(before.dq, after.dq, width, "gradient of the queries");
        assertSameRows(before.dk, after.dk, cols, "gradient of the keys");
        assertSameRows(before.dv, after.dv, cols, "gradient of the values");
    }

    /** Of the middle document. */
    private static void assertSameRows(float[] before, float[] after, int cols, String what) {
        Closeness.assertSameBits(
                Arrays.copyOfRange(before, 5 * cols, 75 * cols), Arrays.copyOfRange(after, 5 * cols, 75 * cols), what);
    }

    @Test
    void aDocumentGivesTheSameBitsAloneAndAmongOthers() {
        int cols = Pass.HEADS * Pass.SIZE;
        int kvCols = Pass.KV_HEADS * Pass.SIZE;
        Pass among = Pass.of(queries(108), keys(108), values(108), 40, 5, 70, 33);
        Pass alone = Pass.of(
                Arrays.copyOfRange(queries(108), 5 * cols, 75 * cols),
                Arrays.copyOfRange(keys(108), 5 * kvCols, 75 * kvCols),
                Arrays.copyOfRange(values(108), 5 * kvCols, 75 * kvCols),
                35,
                70);
        Closeness.assertSameBits(alone.y, Arrays.copyOfRange(among.y, 5 * cols, 75 * cols), "outputs");
        Closeness.assertSameBits(alone.dq, Arrays.copyOfRange(among.dq, 5 * cols, 75 * cols), "dq");
        Closeness.assertSameBits(alone.dk, Arrays.copyOfRange(among.dk, 5 * kvCols, 75 * kvCols), "dk");
        Closeness.assertSameBits(alone.dv, Arrays.copyOfRange(among.dv, 5 * kvCols, 75 * kvCols), "dv");
    }

    /** As its one weight is 1 whatever the score; what rounding would leave, AdamW would make a whole step of. */
    @Test
    void theFirstQueryOfADocumentHasNoGradient() {
        int first = 5;
        float[] v = values(108);
        for (int i = 0; i < v.length; i++) {
            v[i] /= 3; // so that sums in another order are not the same
        }
        Pass pass = Pass.of(queries(108), keys(108), v, first, first, 70, 33);
        assertArrayEquals(new float[pass.dq.length], pass.dq, 0f);
        assertArrayEquals(new float[pass.dk.length], pass.dk, 0f);
        int cols = Pass.KV_HEADS * Pass.SIZE;
        for (int i = 0; i < pass.dv.length; i++) {
            assertEquals(i / cols == first, pass.dv[i] != 0, "gradient of element " + i + " of the values");
        }
    }

    @Test
    void largeScoresDoNotOverflow() {
        int tokens = 70;
        float[] q = queries(tokens);
        float[] k = keys(tokens);
        for (int i = 0; i < q.length; i++) {
            q[i] *= 1e4f;
        }
        for (int i = 0; i < k.length; i++) {
            k[i] *= 1e4f;
        }
        Pass pass = Pass.of(q, k, values(tokens), 60, tokens);
        for (float[] result : List.of(pass.y, pass.dq, pass.dk, pass.dv)) {
            for (float x : result) {
                assertTrue(Float.isFinite(x), "a result is " + x);
            }
        }
    }

    @Test
    void memoryGrowsLinearlyWithTheLength() {
        long peak = Pass.of(queries(512), keys(512), values(512), 0, 512).peak;
        long twice = Pass.of(queries(1024), keys(1024), values(1024), 0, 1024).peak;
        long pads = 4096; // tensors are laid out on multiples of 256 bytes
        assertTrue(twice <= 2 * peak + pads, twice + " bytes for 1024 tokens, " + peak + " for 512");
    }

    @Test
    void refusesHeadsThatDoNotDivide() {
        try (CpuDevice device = new CpuDevice(1);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Sequences sequences = Sequences.of(step.activations(), 0, 2);
            Tensor q = tape.empty(DType.F32, 2, 24);
            Tensor k = tape.empty(DType.F32, 2, 16);
            IllegalArgumentException groups =
                    assertThrows(IllegalArgumentException.class, () -> Attention.apply(tape, q, k, k, sequences, 3, 2));
            assertEquals(
                    "Attention: the number of heads should be a multiple of the 2 key/value heads, found 3",
                    groups.getMessage());
            IllegalArgumentException size =
                    assertThrows(IllegalArgumentException.class, () -> Attention.apply(tape, q, k, k, sequences, 2, 2));
            assertEquals("Attention: k should be F32 [2, 24], found F32 [2, 16]", size.getMessage());
        }
    }
}
