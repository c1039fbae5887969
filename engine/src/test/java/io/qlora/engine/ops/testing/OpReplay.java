package io.qlora.engine.ops.testing;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The kernel calls of one forward and backward pass of a case, kept with their arguments to be made again and again: what
 * measures an op's speed. Only calls of the case's contracts are kept.
 */
public final class OpReplay implements AutoCloseable {

    /**
     * One call.
     *
     * @param arguments tensors whose memory lasts as long as the replay
     */
    public record Call(Device device, Class<?> contract, Method method, Object[] arguments) {

        /** Makes it again, over the same memory. */
        public void run() {
            try {
                method.invoke(device.kernel(contract), arguments);
            } catch (IllegalAccessException | InvocationTargetException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    private final ModelMemory model;
    private final StepMemory step;
    private final List<Call> forward = new ArrayList<>();
    private final List<Call> backward = new ArrayList<>();

    private OpReplay(Device device) {
        this.model = new ModelMemory(device);
        this.step = new StepMemory(device);
    }

    /** Runs {@code test} once on a device that nobody else observes. */
    public static OpReplay of(OpCase test, Device device) {
        OpReplay replay = new OpReplay(device);
        replay.capture(test, device);
        return replay;
    }

    private void capture(OpCase test, Device device) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        List<Parameter> leaves = new ArrayList<>();
        for (OpCase.Input input : test.inputs()) {
            Tensor tensor = OpRun.tensor(input, input.floats(), model);
            tensors.put(input.name(), tensor);
            if (input.hasGradient()) {
                leaves.add(Parameter.of(input.name(), tensor, model));
            }
        }
        try (Tape tape = Tape.recording(step, new Parameters(leaves))) {
            for (OpCase.Input input : test.inputs()) {
                if (input.role() == OpCase.Role.ACTIVATION) {
                    tensors.computeIfPresent(input.name(), (name, tensor) -> TestOps.activation(tape, tensor));
                }
            }
            observe(test, device, forward);
            List<Tensor> outputs = test.op().apply(tape, new OpCase.Inputs(tensors, model));
            if (outputs.stream().anyMatch(tape::tracks)) {
                observe(test, device, backward);
                List<float[]> weights = new ArrayList<>();
                for (Tensor output : outputs) {
                    weights.add(OpCase.normal("weight", output.shape().dims()));
                }
                tape.backward(TestOps.weightedSum(tape, outputs, weights));
            }
        } finally {
            device.observe(null);
        }
    }

    private static void observe(OpCase test, Device device, List<Call> calls) {
        device.observe((contract, method, arguments, nanoseconds) -> {
            if (test.contracts().contains(contract)) {
                calls.add(new Call(device, contract, method, arguments));
            }
        });
    }

    /** The calls of the forward pass, in order. */
    public List<Call> forward() {
        return forward;
    }

    /** The calls of the way back, in order; none for a case without leaves. */
    public List<Call> backward() {
        return backward;
    }

    @Override
    public void close() {
        step.close();
        model.close();
    }
}
