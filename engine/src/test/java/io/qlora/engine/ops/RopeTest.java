package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class RopeTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                rotates("heads narrower than any vector", 3, 1, 4, 3),
                rotates("heads of two vectors and a tail", 2, 2, 42, 2, 1),
                rotates("more rows than a task has", 2, 1, 8, 9, 3, 6));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(rotates("4096 tokens, 32 heads and 4", 32, 4, 64, 4096));
    }

    private static OpCase rotates(String what, int heads, int kvHeads, int headSize, int... lengths) {
        int tokens = Arrays.stream(lengths).sum();
        int positions = Math.max(16, Arrays.stream(lengths).max().orElseThrow());
        return OpCase.of("Rope of " + what, Rope.Kernel.class)
                .activation("q", tokens, heads * headSize)
                .activation("k", tokens, kvHeads * headSize)
                .givesAll((tape, in) -> {
                    Rope.Table table = Rope.Table.of(in.memory(), frequencies(headSize), 1.25f, positions);
                    Sequences sequences = Sequences.of(tape.memory().activations(), 0, lengths);
                    Rope.Rotated rotated = Rope.apply(tape, in.get("q"), in.get("k"), table, sequences);
                    return List.of(rotated.q(), rotated.k());
                });
    }

    private static float[] frequencies(int headSize) {
        float[] frequencies = new float[headSize / 2];
        for (int j = 0; j < frequencies.length; j++) {
            frequencies[j] = (float) Math.pow(10, -2.0 * j / headSize);
        }
        return frequencies;
    }

    @Test
    void theAngleIsRoundedToFloat32BeforeItsCosineIsTaken() {
        int position = 70_001; // far enough for the rounding to show
        float frequency = 0.1f;
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory memory = new ModelMemory(device)) {
            Rope.Table table = Rope.Table.of(memory, new float[] {1f, frequency}, 0.5f, position + 1);
            float angle = position * frequency;
            assertEquals((float) Math.cos(angle) * 0.5f, table.cos().get(2L * position + 1));
            assertEquals((float) Math.sin(angle) * 0.5f, table.sin().get(2L * position + 1));
            double exact = (double) position * frequency;
            assertNotEquals((float) Math.cos(exact) * 0.5f, table.cos().get(2L * position + 1));
        }
    }

    @Test
    void positionsRestartAtEachDocument() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Rope.Table table = Rope.Table.of(model, frequencies(8), 1f, 3);
            float[] document = OpCase.normal("document", 3, 8);
            float[] twice = Arrays.copyOf(document, 48);
            System.arraycopy(document, 0, twice, 24, 24);
            Tensor q = tape.empty(DType.F32, 6, 8).set(twice);
            Tensor k = tape.empty(DType.F32, 6, 8).set(twice);
            Rope.Rotated rotated = Rope.apply(tape, q, k, table, Sequences.of(step.activations(), 0, 3, 3));
            assertArrayEquals(
                    rotated.q().rows(0, 3).toFloats(), rotated.q().rows(3, 6).toFloats());
            assertArrayEquals(rotated.q().toFloats(), rotated.k().toFloats());
        }
    }

    @Test
    void refusesADocumentLongerThanTheTable() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Rope.Table table = Rope.Table.of(model, frequencies(4), 1f, 4);
            Tape tape = Tape.inference(step);
            Tensor q = step.activations().empty(DType.F32, Shape.of(5, 4));
            Sequences sequences = Sequences.of(step.activations(), 0, 5);
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> Rope.apply(tape, q, q, table, sequences));
            assertEquals(
                    "Rope: a document has 5 positions, the table was made for 4: cut the document, or load the model for"
                            + " longer ones",
                    e.getMessage());
        }
    }

    @Test
    void refusesHeadsOfAnotherSize() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Rope.Table table = Rope.Table.of(model, frequencies(8), 1f, 4);
            Tape tape = Tape.inference(step);
            Tensor q = step.activations().empty(DType.F32, Shape.of(2, 16));
            Tensor k = step.activations().empty(DType.F32, Shape.of(2, 12));
            Sequences sequences = Sequences.of(step.activations(), 0, 2);
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> Rope.apply(tape, q, k, table, sequences));
            assertEquals("Rope: k should be [T, K·D] with D = 8, found F32 [2, 12]", e.getMessage());
        }
    }
}
