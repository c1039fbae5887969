package io.qlora.engine.memory;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.Checkpoint;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class PlanningDeviceTest {

    private static final int TOKENS = 300;
    private static final int WIDTH = 512;
    private static final int LAYERS = 6;
    private static final int VOCABULARY = 32_000; // logits of all tokens are more than a piece

    private record Footprint(StepMemory.Sizes needed, long taken, long model) {}

    /** One optimizer step of some layers, as training runs it. */
    private static Footprint step(Device device, boolean checkpointed, StepMemory.Sizes reserved) {
        try (ModelMemory model = new ModelMemory(device);
                StepMemory memory = new StepMemory(device)) {
            memory.reserve(reserved);
            Rope.Table table = Rope.Table.of(model, new float[32], 1f, TOKENS);
            List<Parameter> leaves = new ArrayList<>();
            for (int layer = 0; layer < LAYERS; layer++) {
                leaves.add(Parameter.of("w" + layer, model.zeros(DType.F32, WIDTH), model));
            }
            Parameters parameters = new Parameters(leaves);
            AdamW optimizer = new AdamW(parameters, AdamW.Options.DEFAULT, model);
            DenseWeight head = new DenseWeight(model.zeros(DType.F32, VOCABULARY, WIDTH));
            Tensor embedded = model.zeros(DType.F32, TOKENS, WIDTH);
            try (Tape tape = Tape.recording(memory, parameters)) {
                Sequences sequences = Sequences.of(memory.activations(), 0, 100, 200);
                Tensor x = embedded;
                for (Parameter leaf : leaves) {
                    x = checkpointed
                            ? Checkpoint.apply(tape, x, (inner, h) -> layer(inner, h, leaf, table, sequences))
                            : layer(tape, x, leaf, table, sequences);
                }
                Tensor attended = Attention.apply(tape, x, x, x, sequences, 8, 8);
                tape.backward(loss(tape, attended, head));
            }
            memory.requireEmpty();
            optimizer.step(1e-3, GradientNorm.clip(GradientNorm.of(parameters, memory), 1f));
            return new Footprint(memory.needed(), memory.capacity(), model.bytes());
        }
    }

    private static Tensor layer(Tape tape, Tensor x, Parameter leaf, Rope.Table table, Sequences sequences) {
        Tensor q = RmsNorm.apply(tape, x, leaf.value(), 1e-5f);
        Tensor k = RmsNorm.apply(tape, x, leaf.value(), 1e-5f);
        Rope.Rotated rotated = Rope.apply(tape, q, k, table, sequences);
        Tensor gated = SwiGlu.apply(tape, rotated.q(), rotated.k());
        return Add.inPlace(tape, x, Dropout.apply(tape, gated, 0.1f, new StepKey(1, 1), 0, sequences));
    }

    private static Tensor loss(Tape tape, Tensor x, DenseWeight head) {
        Tensor rows =
                tape.empty(DType.I32, TOKENS).set(IntStream.range(0, TOKENS).toArray());
        return LinearCrossEntropy.apply(
                tape, x, head, rows, tape.empty(DType.I32, TOKENS).set(new int[TOKENS]), 1f);
    }

    @Test
    void aStepTakesWhatItTakesHereAndNothingMore() {
        for (boolean checkpointed : new boolean[] {false, true}) {
            try (CpuDevice cpu = new CpuDevice(1);
                    PlanningDevice planning = new PlanningDevice()) {
                Footprint planned = step(planning, checkpointed, new StepMemory.Sizes(0, 0, 0));
                Footprint real = step(cpu, checkpointed, planned.needed);
                assertEquals(planned.needed, real.needed);
                assertEquals(planned.needed.onDevice(), real.taken);
                assertEquals(planned.model, real.model);
                assertTrue(real.needed.activations() > 2L * 4 * TOKENS * WIDTH, real.toString());
            }
        }
    }

    @Test
    void plansWhatNoMachineHasMemoryFor() {
        try (PlanningDevice device = new PlanningDevice();
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Tensor w = model.zeros(DType.F32, 1 << 20);
            Tensor x = model.zeros(DType.F32, 1 << 20, 1 << 20);
            RmsNorm.apply(tape, x, w, 1e-5f);
            assertEquals((4L << 40) + (4L << 20), model.bytes());
            assertTrue(step.peak() >= 4L << 40);
        }
    }

    @Test
    void everythingReadsAsZeros() {
        try (PlanningDevice device = new PlanningDevice();
                ModelMemory memory = new ModelMemory(device)) {
            Tensor x = memory.empty(DType.F32, 3).set(1f, 2f, 3f);
            assertArrayEquals(new float[3], x.toFloats());
            assertThrows(IllegalStateException.class, x::segment);
        }
    }

    /** Not to be planned: it has a result. */
    public interface Counting {
        int count(Tensor x);
    }

    @Test
    void refusesAKernelThatReturnsAResult() {
        try (PlanningDevice device = new PlanningDevice()) {
            Counting kernel = device.kernel(Counting.class);
            assertThrows(UnsupportedOperationException.class, () -> kernel.count(null));
        }
    }
}
