package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class CheckpointTest extends OpTest {

    private static final int TOKENS = 5;
    private static final int WIDTH = 24;
    private static final StepKey STEP = new StepKey(3, 1);

    private final CpuDevice device = new CpuDevice(1);
    private final ModelMemory model = new ModelMemory(device);
    private final StepMemory memory = new StepMemory(device);

    @AfterEach
    void close() {
        memory.close();
        model.close();
        device.close();
    }

    @Override
    public List<OpCase> cases() {
        return List.of(OpCase.of("Checkpoint of a block")
                .activation("x", TOKENS, WIDTH)
                .leaf("w", WIDTH)
                .gives((tape, in) -> {
                    Block block =
                            new Block(in.get("w"), Rope.Table.of(in.memory(), new float[] {1f, 0.1f}, 1f, TOKENS));
                    Sequences sequences = Sequences.of(tape.memory().activations(), 0, 2, 3);
                    return Checkpoint.apply(tape, in.get("x"), (inner, x) -> block.apply(inner, x, 0, sequences));
                }));
    }

    /** A block with a bit of everything: fan-out, an op in place, one of two outputs, dropout, a residual connection. */
    private record Block(Tensor w, Rope.Table table) {
        Tensor apply(Tape tape, Tensor x, int layer, Sequences sequences) {
            Tensor a = RmsNorm.apply(tape, x, w, 1e-5f);
            Tensor b = RmsNorm.apply(tape, a, w, 1e-5f);
            Rope.Rotated rotated = Rope.apply(tape, RmsNorm.apply(tape, a, w, 1e-5f), b, table, sequences);
            Tensor gated = SwiGlu.apply(tape, rotated.q(), rotated.k());
            return tape.last(() -> Add.inPlace(tape, x, Dropout.apply(tape, gated, 0.2f, STEP, layer, sequences)));
        }
    }

    private record Outcome(float[] output, List<float[]> gradients, long peak) {}

    /** Three blocks on x, in memory of their own; the gradient at the end is all ones. */
    private static Outcome run(boolean checkpointed, boolean xIsALeaf) {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory model = new ModelMemory(device);
                StepMemory memory = new StepMemory(device)) {
            Rope.Table table = Rope.Table.of(model, new float[] {1f, 0.1f}, 1f, TOKENS);
            List<Parameter> leaves = new ArrayList<>();
            for (int layer = 0; layer < 3; layer++) {
                leaves.add(parameter("w" + layer, model, WIDTH));
            }
            List<Block> blocks =
                    leaves.stream().map(w -> new Block(w.value(), table)).toList();
            Parameter x = parameter("x", model, TOKENS, WIDTH);
            if (xIsALeaf) {
                leaves.add(x);
            }
            float[] output;
            try (Tape tape = Tape.recording(memory, new Parameters(leaves))) {
                Sequences sequences = Sequences.of(memory.activations(), 0, 2, 3);
                Tensor y = x.value();
                for (int layer = 0; layer < 3; layer++) {
                    int site = layer;
                    BiFunction<Tape, Tensor, Tensor> block =
                            (inner, h) -> blocks.get(site).apply(inner, h, site, sequences);
                    y = checkpointed ? Checkpoint.apply(tape, y, block) : block.apply(tape, y);
                }
                output = y.toFloats();
                tape.backward(sum(tape, y));
            }
            memory.requireEmpty();
            List<float[]> gradients =
                    leaves.stream().map(leaf -> leaf.gradient().toFloats()).toList();
            return new Outcome(output, gradients, memory.activations().peak());
        }
    }

    private static Parameter parameter(String name, ModelMemory model, long... dims) {
        return Parameter.of(name, model.empty(DType.F32, dims).set(OpCase.normal(name, dims)), model);
    }

    private static Tensor sum(Tape tape, Tensor y) {
        Tensor loss = tape.empty(DType.F32, 1).set(0f);
        return tape.record(loss, List.of(y), (dLoss, gradients) -> {
            float[] ones = new float[Math.toIntExact(y.size())];
            Arrays.fill(ones, 1f);
            gradients.wanted(y).tensor().set(ones);
        });
    }

    @Test
    void gradientsAreThoseWithoutItBitForBit() {
        for (boolean xIsALeaf : new boolean[] {true, false}) {
            Outcome plain = run(false, xIsALeaf);
            Outcome checkpointed = run(true, xIsALeaf);
            assertArrayEquals(plain.output, checkpointed.output);
            for (int i = 0; i < plain.gradients.size(); i++) {
                assertArrayEquals(plain.gradients.get(i), checkpointed.gradients.get(i), "gradient " + i);
            }
            assertTrue(checkpointed.peak < plain.peak, checkpointed.peak + " bytes, " + plain.peak + " without");
        }
    }

    @Test
    void isNotRecordedWhenNothingInTheBlockIsTrainable() {
        Tensor w = parameter("w", model, WIDTH).value();
        Tensor x = parameter("x", model, TOKENS, WIDTH).value();
        Parameter elsewhere = Parameter.of("elsewhere", model.zeros(DType.F32, 1), model);
        try (Tape tape = Tape.recording(memory, new Parameters(List.of(elsewhere)))) {
            Tensor y = Checkpoint.apply(tape, x, (inner, h) -> RmsNorm.apply(inner, h, w, 1e-5f));
            assertFalse(tape.tracks(y));
        }
    }

    @Test
    void onAnInferenceTapeItKeepsTheOutputAlone() {
        Tensor w = parameter("w", model, WIDTH).value();
        Tensor x = parameter("x", model, TOKENS, WIDTH).value();
        try (Tape tape = Tape.inference(memory)) {
            Tensor plain = RmsNorm.apply(tape, x, w, 1e-5f);
            long before = memory.activations().used();
            Tensor y = Checkpoint.apply(tape, x, (inner, h) -> RmsNorm.apply(inner, h, w, 1e-5f));
            assertArrayEquals(plain.toFloats(), y.toFloats());
            assertTrue(memory.activations().used() - before < y.byteSize() + 256);
        }
    }

    @Test
    void aBlockThatFailsOnTheWayBackLeavesNoMemoryBehind() {
        Tensor w = parameter("w", model, WIDTH).value();
        Tensor x = parameter("x", model, TOKENS, WIDTH).value();
        Parameters leaves = new Parameters(List.of(Parameter.of("w", w, model)));
        AtomicInteger calls = new AtomicInteger();
        try (Tape tape = Tape.recording(memory, leaves)) {
            Tensor y = Checkpoint.apply(tape, x, (inner, h) -> {
                Tensor normal = RmsNorm.apply(inner, h, w, 1e-5f);
                Tensor broken = inner.record(normal.alias(), List.of(normal), (dy, gradients) -> {
                    gradients.pass(normal, dy);
                    throw new IllegalStateException("broken");
                });
                calls.incrementAndGet();
                return RmsNorm.apply(inner, broken, w, 1e-5f);
            });
            Tensor loss = sum(tape, y);
            assertThrows(IllegalStateException.class, () -> tape.backward(loss));
        }
        assertEquals(2, calls.get());
        memory.requireEmpty();
    }

    @Test
    void refusesABlockThatChangesTheShape() {
        Tensor x = model.zeros(DType.F32, TOKENS, WIDTH);
        try (Tape tape = Tape.inference(memory)) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class,
                    () -> Checkpoint.apply(tape, x, (inner, h) -> inner.empty(DType.F32, TOKENS, 7)));
            assertEquals("Checkpoint: the block's output should be F32 [5, 24], found F32 [5, 7]", e.getMessage());
        }
    }
}
