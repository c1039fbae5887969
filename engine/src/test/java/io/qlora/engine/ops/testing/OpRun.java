package io.qlora.engine.ops.testing;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiFunction;
import java.util.function.Predicate;

/**
 * One forward and backward pass of a case on a device. The loss is a fixed, randomly weighted sum of all outputs; fresh
 * memory is full of NaN, so that what a kernel fails to write shows.
 */
final class OpRun {

    /**
     * What came out.
     *
     * @param outputs their elements, in order
     * @param gradients of the inputs that were tracked, by name
     */
    record Result(List<float[]> outputs, Map<String, float[]> gradients) {}

    private static final int POISON = 16 << 10; // floats in each pool
    private static final Map<Device, StepMemory> STEPS = new ConcurrentHashMap<>();

    private final OpCase test;
    private final Device device;
    private final Map<String, float[]> values = new HashMap<>();
    private Predicate<String> tracked = name -> true;
    private boolean onTop;
    private int nanGradient = -1;

    OpRun(OpCase test, Device device) {
        this.test = test;
        this.device = device;
        test.inputs().forEach(input -> values.put(input.name(), input.floats()));
    }

    /** Gives an input another value at one place. */
    OpRun with(String input, int index, double value) {
        float[] changed = values.get(input).clone();
        changed[index] = (float) value;
        values.put(input, changed);
        return this;
    }

    /** Has only some inputs tracked. */
    OpRun tracking(Predicate<String> names) {
        this.tracked = names;
        return this;
    }

    /** Has every gradient meet one that is there already: {@link #there}. */
    OpRun onTopOfGradients() {
        this.onTop = true;
        return this;
    }

    /** Makes one element of the first output's gradient NaN. */
    OpRun nanGradient(int index) {
        this.nanGradient = index;
        return this;
    }

    /** The gradient that is there already under {@link #onTopOfGradients}. */
    static float[] there(OpCase.Input input) {
        return OpCase.normal("there already: " + input.name(), input.shape().dims());
    }

    /** The outputs alone, on a tape that records nothing. */
    List<float[]> forward() {
        return inMemory((model, step) -> {
            try (Tape tape = Tape.inference(step)) {
                Map<String, Tensor> tensors = new LinkedHashMap<>();
                test.inputs().forEach(input -> tensors.put(input.name(), tensor(input, model)));
                return copies(test.op().apply(tape, new OpCase.Inputs(tensors, model)));
            }
        });
    }

    /** Outputs and gradients. Fails if the step's memory is not left as it was found. */
    Result run() {
        return inMemory((model, step) -> {
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            Map<String, Parameter> leaves = new LinkedHashMap<>();
            for (OpCase.Input input : test.inputs()) {
                Tensor value = tensor(input, model);
                tensors.put(input.name(), value);
                if (input.hasGradient() && tracked.test(input.name())) {
                    leaves.put(input.name(), Parameter.of(input.name(), value, model));
                }
            }
            List<float[]> outputs = walk(model, step, tensors, leaves);
            Map<String, float[]> gradients = new LinkedHashMap<>();
            leaves.forEach((name, leaf) -> gradients.put(name, leaf.gradient().toFloats()));
            return new Result(outputs, gradients);
        });
    }

    private List<float[]> walk(
            ModelMemory model, StepMemory step, Map<String, Tensor> tensors, Map<String, Parameter> leaves) {
        try (Tape tape = Tape.recording(step, new Parameters(List.copyOf(leaves.values())))) {
            List<Tensor> terms = new ArrayList<>(); // of the loss
            Map<String, Tensor> given = new LinkedHashMap<>(tensors);
            for (OpCase.Input input : test.inputs()) {
                if (input.role() == OpCase.Role.ACTIVATION) {
                    given.put(input.name(), TestOps.activation(tape, tensors.get(input.name())));
                }
            }
            List<Tensor> outputs = test.op().apply(tape, new OpCase.Inputs(given, model));
            terms.addAll(outputs);
            List<float[]> copies = copies(outputs);
            if (onTop) {
                for (OpCase.Input input : test.leaves()) {
                    terms.add(TestOps.contribute(tape, given.get(input.name()), there(input)));
                }
            }
            if (terms.stream().anyMatch(tape::tracks)) {
                tape.backward(TestOps.weightedSum(tape, terms, weights(terms)));
                requireDropped(step, leaves.size());
            }
            return copies;
        }
    }

    /** What precedes the first recorded op may stay until the tape closes: nothing, if every input is tracked. */
    private void requireDropped(StepMemory step, int leaves) {
        long left = step.activations().used();
        if (leaves == test.leaves().size() && left != 0) {
            throw new AssertionError(test + ": " + left + " bytes of activations left by backward");
        }
    }

    private List<float[]> weights(List<Tensor> terms) {
        List<float[]> weights = new ArrayList<>();
        for (int i = 0; i < terms.size(); i++) {
            weights.add(weights(i, terms.get(i).shape().dims()));
        }
        if (nanGradient >= 0) {
            weights.getFirst()[nanGradient] = Float.NaN;
        }
        return weights;
    }

    /** The weights of output {@code i} in the loss. */
    private static float[] weights(int i, long... dims) {
        return OpCase.normal("weight of output " + i, dims);
    }

    /** The loss of these outputs, in double. */
    static double loss(List<float[]> outputs) {
        double loss = 0;
        for (int i = 0; i < outputs.size(); i++) {
            float[] output = outputs.get(i);
            float[] weights = weights(i, output.length);
            for (int j = 0; j < output.length; j++) {
                loss += (double) weights[j] * output[j];
            }
        }
        return loss;
    }

    private Tensor tensor(OpCase.Input input, ModelMemory model) {
        return tensor(input, values.get(input.name()), model);
    }

    /** An input on the device of {@code model}, with these elements, or its own if it is of integers. */
    static Tensor tensor(OpCase.Input input, float[] floats, ModelMemory model) {
        Tensor tensor = model.empty(input.dtype(), input.shape().dims());
        if (floats == null) {
            return tensor.set(input.ints());
        }
        write(tensor, floats);
        return tensor;
    }

    /** Overwrites a floating-point tensor, rounded to its type. */
    private static void write(Tensor tensor, float[] floats) {
        if (tensor.dtype() == DType.F32) {
            tensor.set(floats);
            return;
        }
        short[] halves = new short[floats.length];
        for (int i = 0; i < floats.length; i++) {
            halves[i] = switch (tensor.dtype()) {
                case F16 -> Float.floatToFloat16(floats[i]);
                case BF16 -> Floats.bfloat16(floats[i]);
                case F32, I32, U8 ->
                    throw new IllegalArgumentException(tensor + ": bytes are no input, make them in the op");
            };
        }
        tensor.device().write(MemorySegment.ofArray(halves), tensor);
    }

    /** Lends the device's step memory, which must come back empty: one that does not is not used again. */
    private <R> R inMemory(BiFunction<ModelMemory, StepMemory, R> body) {
        StepMemory step = STEPS.remove(device);
        if (step == null) {
            step = new StepMemory(device);
        }
        poison(step);
        try (ModelMemory model = new ModelMemory(device)) {
            R result = body.apply(model, step);
            step.requireEmpty();
            STEPS.put(device, step);
            return result;
        }
    }

    private static void poison(StepMemory step) {
        float[] nan = new float[POISON];
        Arrays.fill(nan, Float.NaN);
        BumpPool.Mark mark = step.activations().mark();
        step.activations().empty(DType.F32, Shape.of(POISON)).set(nan);
        step.activations().release(mark);
        step.gradients()
                .free(step.gradients().empty(DType.F32, Shape.of(POISON)).set(nan));
    }

    private static List<float[]> copies(List<Tensor> tensors) {
        return tensors.stream().map(Tensor::toFloats).toList();
    }

    /** Sets a gradient on the host, or adds to it. */
    static void put(Grad grad, float[] value) {
        float[] sum = grad.accumulate() ? grad.tensor().toFloats() : new float[value.length];
        for (int i = 0; i < sum.length; i++) {
            sum[i] += value[i];
        }
        write(grad.tensor(), sum);
    }
}
