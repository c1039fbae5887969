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
import io.qlora.engine.ops.testing.DelegatingDevice;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OffloadedCheckpointsTest {

    private static final int TOKENS = 5;
    private static final int WIDTH = 24;
    private static final int BLOCKS = 5;

    /** A processor that takes itself for a card; what is copied beside its work it copies at once, or when it must. */
    private static final class Apart extends DelegatingDevice {

        private final boolean late;
        private final List<Runnable> copies = new ArrayList<>();
        private int begun;

        Apart(boolean late) {
            super(new CpuDevice(1));
            this.late = late;
        }

        @Override
        public String name() {
            return "apart";
        }

        @Override
        public DeviceArena newHostArena() {
            return newArena();
        }

        @Override
        public void copyBeside(Tensor source, Tensor target) {
            begun++;
            if (late) {
                copies.add(() -> copy(source, target));
            } else {
                copy(source, target);
            }
        }

        @Override
        public void awaitCopies() {
            copies.forEach(Runnable::run);
            copies.clear();
        }

        @Override
        public void close() {
            device.close();
        }
    }

    private record Outcome(float[] output, List<float[]> gradients, long peak, long onHost) {}

    /**
     * Some blocks, the first of which depend on nothing that is trained.
     *
     * @param frozen how many
     */
    private static Outcome run(Device device, boolean offloaded, int frozen) {
        try (ModelMemory model = new ModelMemory(device);
                StepMemory memory = new StepMemory(device)) {
            List<Parameter> leaves = new ArrayList<>();
            for (int block = 0; block < BLOCKS; block++) {
                String name = "w" + block;
                leaves.add(Parameter.of(name, model.empty(DType.F32, WIDTH).set(OpCase.normal(name, WIDTH)), model));
            }
            Parameters trained = new Parameters(leaves.subList(frozen, BLOCKS));
            for (int step = 0; step < 2; step++) { // the second finds memory as the first left it
                trained.zeroGradients();
                step(memory, leaves, trained, offloaded);
            }
            float[] output = step(memory, leaves, trained, offloaded);
            List<float[]> gradients = trained.list().stream()
                    .map(leaf -> leaf.gradient().toFloats())
                    .toList();
            return new Outcome(output, gradients, memory.activations().peak(), memory.hostCapacity());
        }
    }

    private static float[] step(StepMemory memory, List<Parameter> leaves, Parameters trained, boolean offloaded) {
        float[] output;
        try (Tape tape = Tape.recording(memory, trained)) {
            OffloadedCheckpoints blocks = new OffloadedCheckpoints(tape);
            Tensor y = tape.empty(DType.F32, TOKENS, WIDTH).set(OpCase.normal("x", TOKENS, WIDTH));
            for (Parameter leaf : leaves) {
                BiFunction<Tape, Tensor, Tensor> block = (inner, x) ->
                        Add.inPlace(inner, x, SwiGlu.apply(inner, norm(inner, x, leaf), norm(inner, x, leaf)));
                y = offloaded ? blocks.apply(y, block) : Checkpoint.apply(tape, y, block);
            }
            output = y.toFloats();
            Tensor last = y;
            Tensor loss = tape.empty(DType.F32, 1).set(0f);
            tape.backward(tape.record(
                    loss,
                    List.of(last),
                    (dLoss, gradients) -> gradients.wanted(last).tensor().set(OpCase.normal("dy", TOKENS, WIDTH))));
        }
        memory.requireEmpty();
        return output;
    }

    private static Tensor norm(Tape tape, Tensor x, Parameter leaf) {
        return RmsNorm.apply(tape, x, leaf.value(), 1e-5f);
    }

    @ParameterizedTest
    @CsvSource({"false, 0", "true, 0", "false, 2", "true, 2", "true, 4"})
    void gradientsAreThoseOfCheckpointsWhenEverCopiesAreMade(boolean late, int frozen) {
        try (Apart device = new Apart(late)) {
            Outcome kept = run(device, false, frozen);
            assertEquals(0, device.begun);
            Outcome offloaded = run(device, true, frozen);
            assertArrayEquals(kept.output, offloaded.output);
            for (int i = 0; i < kept.gradients.size(); i++) {
                assertArrayEquals(kept.gradients.get(i), offloaded.gradients.get(i), "gradient " + i);
            }
            assertTrue(offloaded.onHost > 0 && kept.onHost == 0);
            // all of those that are recorded go, and all but the last come back
            int recorded = BLOCKS - frozen;
            assertEquals(3 * (recorded + Math.max(0, recorded - 1)), device.begun);
        }
    }

    @Test
    void theInputsOfTwoBlocksAreOnTheDevice() {
        try (Apart device = new Apart(true)) {
            long input = 4L * TOKENS * WIDTH;
            long less = run(device, false, 0).peak - run(device, true, 0).peak;
            assertTrue(less >= (BLOCKS - 2) * input, "takes less by " + less);
        }
    }

    @Test
    void aDeviceThatComputesInTheMachinesMemoryRefuses() {
        try (CpuDevice device = new CpuDevice(1)) {
            UnsupportedOperationException e =
                    assertThrows(UnsupportedOperationException.class, () -> run(device, true, 0));
            assertEquals("cpu has no memory but the machine's", e.getMessage());
        }
    }
}
