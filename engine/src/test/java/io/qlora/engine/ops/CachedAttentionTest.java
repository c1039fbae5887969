package io.qlora.engine.ops;

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

class CachedAttentionTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                attends("the first token", 2, 1, 5, 1, 0),
                attends("one more token", 4, 2, 20, 1, 70),
                attends("one more token, heads of whole vectors", 2, 2, 32, 1, 7),
                attends("a prompt", 3, 1, 6, 75, 0),
                attends("more of a prompt", 2, 2, 8, 70, 13),
                attends("two tokens at the end of the cache", 2, 1, 18, 2, 66));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(attends("the 2048th token, 32 heads of 64 and 4", 32, 4, 64, 1, 2047));
    }

    private static OpCase attends(String what, int heads, int kvHeads, int size, int tokens, int past) {
        long cols = (long) kvHeads * size;
        return OpCase.of("CachedAttention of " + what, CachedAttention.Kernel.class)
                .frozen("q", DType.F32, tokens, (long) heads * size)
                .frozen("k", DType.F32, past + tokens, cols)
                .frozen("v", DType.F32, past + tokens, cols)
                .gives((tape, in) ->
                        CachedAttention.apply(tape, in.get("q"), in.get("k"), in.get("v"), past, heads, kvHeads));
    }

    @Test
    void agreesWithAttentionHoweverTheTextIsCut() {
        int tokens = 100;
        int heads = 4;
        int kvHeads = 2;
        int cols = heads * 16;
        int kvCols = kvHeads * 16;
        try (CpuDevice device = new CpuDevice(2);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Tensor q = tape.empty(DType.F32, tokens, cols).set(OpCase.normal("q", tokens, cols));
            Tensor k = tape.empty(DType.F32, tokens, kvCols).set(OpCase.normal("k", tokens, kvCols));
            Tensor v = tape.empty(DType.F32, tokens, kvCols).set(OpCase.normal("v", tokens, kvCols));
            Sequences sequences = Sequences.of(step.activations(), 0, tokens);
            float[] expected =
                    Attention.apply(tape, q, k, v, sequences, heads, kvHeads).toFloats();
            for (int cut : new int[] {1, 2, 33, 64, 99}) {
                for (int[] part : new int[][] {{0, cut}, {cut, tokens}}) {
                    Tensor y = CachedAttention.apply(tape, q.rows(part[0], part[1]), k, v, part[0], heads, kvHeads);
                    float[] rows = Arrays.copyOfRange(expected, part[0] * cols, part[1] * cols);
                    Closeness.assertClose(rows, y.toFloats(), 1e-6, "rows " + part[0] + " to " + part[1]);
                }
            }
        }
    }

    @Test
    void ignoresTheUnusedRestOfTheCache() {
        try (CpuDevice device = new CpuDevice(1);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            for (int tokens : new int[] {1, 3}) {
                Tensor q = tape.empty(DType.F32, tokens, 8).set(OpCase.normal("q", tokens, 8));
                float[] cache = OpCase.normal("cache", 20, 8);
                Arrays.fill(cache, (5 + tokens) * 8, cache.length, Float.NaN);
                Tensor k = tape.empty(DType.F32, 20, 8).set(cache);
                for (float y : CachedAttention.apply(tape, q, k, k, 5, 1, 1).toFloats()) {
                    assertTrue(Float.isFinite(y));
                }
            }
        }
    }

    @Test
    void refusesATrackedTensor() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Tensor cache = model.zeros(DType.F32, 4, 8);
            Parameter q = Parameter.of("q", model.zeros(DType.F32, 1, 8), model);
            try (Tape tape = Tape.recording(step, new Parameters(List.of(q)))) {
                IllegalStateException e = assertThrows(
                        IllegalStateException.class,
                        () -> CachedAttention.apply(tape, q.value(), cache, cache, 0, 1, 1));
                assertTrue(e.getMessage().startsWith("CachedAttention has no gradient"), e.getMessage());
            }
        }
    }

    @Test
    void refusesMoreTokensThanTheCacheHolds() {
        try (CpuDevice device = new CpuDevice(1);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Tensor q = tape.empty(DType.F32, 3, 8);
            Tensor cache = tape.empty(DType.F32, 4, 8);
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> CachedAttention.apply(tape, q, cache, cache, 2, 1, 1));
            assertTrue(e.getMessage().contains("past should be at most 1"), e.getMessage());
        }
    }
}
