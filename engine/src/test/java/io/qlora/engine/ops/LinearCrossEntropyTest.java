package io.qlora.engine.ops;

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
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LinearCrossEntropyTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                trainable("some rows", 9, 5, 37, new int[] {1, 2, 5, 8}, new int[] {36, 0, 17, 17})
                        .withoutNan(), // most rows of x have no target
                trainable("rows in any order, one of them twice", 6, 3, 7, new int[] {4, 0, 4}, new int[] {1, 6, 2})
                        .withoutNan(),
                trainable("a vocabulary of one", 2, 3, 1, new int[] {0, 1}, new int[] {0, 0}),
                trainable("a vocabulary of whole vectors", 3, 2, 32, new int[] {0, 1, 2}, new int[] {31, 0, 16}),
                frozen(DType.F32),
                frozen(DType.F16),
                frozen(DType.BF16));
    }

    @Override
    public List<OpCase> measured() {
        int[] rows = IntStream.range(0, 255).toArray();
        int[] targets = new SplittableRandom(1).ints(255, 0, 32_000).toArray();
        return List.of(inputs("LinearCrossEntropy of 256 tokens, 32000 x 768 in BF16", 256, 768, rows, targets)
                .frozen("head", DType.BF16, 32_000, 768)
                .gives(OP));
    }

    private static OpCase trainable(String what, int t, int c, int v, int[] rows, int[] targets) {
        return inputs("LinearCrossEntropy of " + what, t, c, rows, targets)
                .leaf("head", v, c)
                .gives(OP);
    }

    private static OpCase frozen(DType dtype) {
        int[] rows = {0, 1, 2, 3, 4, 6};
        int[] targets = {3, 1, 20, 0, 0, 9};
        String what = "LinearCrossEntropy of a frozen head in " + dtype;
        return inputs(what, 7, 19, rows, targets).frozen("head", dtype, 21, 19).gives(OP);
    }

    private static OpCase inputs(String what, int t, int c, int[] rows, int[] targets) {
        return OpCase.of(what, LinearCrossEntropy.Kernel.class, Embedding.Kernel.class, Linear.Kernel.class)
                .activation("x", t, c)
                .ints("rows", rows, rows.length)
                .ints("targets", targets, targets.length)
                .within(1e-5);
    }

    private static final OpCase.Op OP = (tape, in) -> LinearCrossEntropy.apply(
            tape, in.get("x"), new DenseWeight(in.get("head")), in.get("rows"), in.get("targets"), 0.25f);

    /** A vocabulary so large that the logits of all rows are cut in two; those of half the rows are not. */
    @Test
    void logitsAreNeverWholeAndThatDoesNotShow() {
        int t = 100;
        int v = 140_000;
        try (CpuDevice device = new CpuDevice(2, true)) {
            Run all = run(device, t, v, 0, t);
            Run first = run(device, t, v, 0, t / 2);
            Run second = run(device, t, v, t / 2, t);
            assertEquals(first.loss + second.loss, all.loss, 1e-6 * all.loss);
            Closeness.assertClose(sum(first.dx, second.dx), all.dx, 1e-6, "dx");
            Closeness.assertClose(sum(first.dhead, second.dhead), all.dhead, 1e-6, "dhead");
            assertTrue(all.peak < 4L * t * v, () -> "peak " + all.peak + " of logits " + 4L * t * v);
        }
    }

    private static float[] sum(float[] a, float[] b) {
        float[] sum = a.clone();
        for (int i = 0; i < sum.length; i++) {
            sum[i] += b[i];
        }
        return sum;
    }

    private record Run(float loss, float[] dx, float[] dhead, long peak) {}

    /** Rows {@code from} to {@code to} of t have targets. */
    private static Run run(CpuDevice device, int t, int v, int from, int to) {
        try (ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Tensor x = model.empty(DType.F32, t, 2).set(OpCase.normal("x", t, 2));
            Tensor w = model.empty(DType.F32, v, 2).set(OpCase.normal("w", v, 2));
            Parameter px = Parameter.of("x", x, model);
            Parameter pw = Parameter.of("w", w, model);
            int[] some = IntStream.range(from, to).toArray();
            Tensor rows = model.empty(DType.I32, some.length).set(some);
            Tensor targets = model.empty(DType.I32, some.length).set(some);
            float loss;
            try (Tape tape = Tape.recording(step, new Parameters(List.of(px, pw)))) {
                Tensor y = LinearCrossEntropy.apply(tape, x, new DenseWeight(w), rows, targets, 1f / t);
                loss = y.item();
                tape.backward(y);
            }
            step.requireEmpty();
            return new Run(
                    loss,
                    px.gradient().toFloats(),
                    pw.gradient().toFloats(),
                    step.activations().peak());
        }
    }

    @Test
    void chunksAreOfWholeTilesWhereThatManyRowsFit() {
        assertEquals(64, LinearCrossEntropy.chunkRows(1));
        assertEquals(65, LinearCrossEntropy.chunkRows(65));
        assertEquals(256, LinearCrossEntropy.chunkRows(511));
        assertEquals(1024, LinearCrossEntropy.chunkRows((256L << 20) / (2 * 128_256)));
    }

    @Test
    void noTargetsMakeNoLossAndNoGradient() {
        for (boolean vectors : new boolean[] {false, true}) {
            try (CpuDevice device = new CpuDevice(2, vectors)) {
                Run run = runWithoutTargets(device);
                assertEquals(0f, run.loss);
                Closeness.assertSameBits(new float[6], run.dx, "dx");
                Closeness.assertSameBits(new float[10], run.dhead, "dhead");
            }
        }
    }

    private static Run runWithoutTargets(CpuDevice device) {
        try (ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Parameter x = Parameter.of("x", model.zeros(DType.F32, 3, 2), model);
            Parameter w = Parameter.of("w", model.zeros(DType.F32, 5, 2), model);
            Tensor none = model.empty(DType.I32, 0);
            try (Tape tape = Tape.recording(step, new Parameters(List.of(x, w)))) {
                Tensor y = LinearCrossEntropy.apply(tape, x.value(), new DenseWeight(w.value()), none, none, 1f);
                float loss = y.item();
                tape.backward(y);
                return new Run(loss, x.gradient().toFloats(), w.gradient().toFloats(), 0);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void rowsAndTargetsThatDoNotExistAreNamed(boolean vectors) {
        try (CpuDevice device = new CpuDevice(2, vectors);
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Tensor x = model.zeros(DType.F32, 3, 2);
            DenseWeight head = new DenseWeight(model.zeros(DType.F32, 5, 2));
            Tensor rows = model.empty(DType.I32, 2).set(0, 2);
            Tensor targets = model.empty(DType.I32, 2).set(4, 5);
            assertEquals(
                    "element 1 of I32 [2] should be an index from 0 to 4, found 5",
                    assertThrows(
                                    IndexOutOfBoundsException.class,
                                    () -> LinearCrossEntropy.apply(tape, x, head, rows, targets, 1))
                            .getMessage());
            Tensor wrong = model.empty(DType.I32, 2).set(-1, 2);
            assertEquals(
                    "element 0 of I32 [2] should be an index from 0 to 2, found -1",
                    assertThrows(
                                    IndexOutOfBoundsException.class,
                                    () -> LinearCrossEntropy.apply(tape, x, head, wrong, rows, 1))
                            .getMessage());
        }
    }
}
