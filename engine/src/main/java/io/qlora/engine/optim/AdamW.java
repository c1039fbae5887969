package io.qlora.engine.optim;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * Adam with decoupled weight decay (Loshchilov &amp; Hutter 2019, arXiv 1711.05101), in torch's order of operations. For every
 * element p of every parameter, at step t from 1, with g its gradient times the clip factor:
 *
 * <pre>
 *   p ← p · (1 − lr·weightDecay)
 *   m ← m + (1 − β1) · (g − m)
 *   v ← β2·v + (1 − β2)·g·g
 *   p ← p − lr / (1 − β1ᵗ) · m / (sqrt(v) / sqrt(1 − β2ᵗ) + eps)
 * </pre>
 *
 * Elements are float32; the factors are computed in double and rounded once. Its state, m and v, takes 8 bytes an element.
 */
public final class AdamW {

    /**
     * The constants of a run.
     *
     * @param beta1 decay of the gradient's mean
     * @param beta2 decay of its square's
     * @param epsilon added to the root of the latter
     * @param weightDecay share of a parameter that a learning rate of 1 would take away in a step
     */
    public record Options(double beta1, double beta2, double epsilon, double weightDecay) {

        /** As transformers' trainer has them: 0.9, 0.999, 1e-8 and no weight decay. */
        public static final Options DEFAULT = new Options(0.9, 0.999, 1e-8, 0);

        public Options {
            require(beta1 >= 0 && beta1 < 1, "beta1", beta1, "from 0 to below 1");
            require(beta2 >= 0 && beta2 < 1, "beta2", beta2, "from 0 to below 1");
            require(epsilon >= 0, "epsilon", epsilon, "0 or more");
            require(weightDecay >= 0, "weight decay", weightDecay, "0 or more");
        }

        /** These with another weight decay. */
        public Options withWeightDecay(double decay) {
            return new Options(beta1, beta2, epsilon, decay);
        }

        private static void require(boolean condition, String name, double found, String expected) {
            if (!condition) {
                throw new IllegalArgumentException("AdamW: " + name + " should be " + expected + ", found " + found);
            }
        }
    }

    /**
     * A parameter and what the optimizer remembers of its gradients.
     *
     * @param mean m, F32, of the parameter's shape
     * @param square v, F32, of the parameter's shape
     * @param rateFactor what the learning rate is multiplied by for this parameter
     */
    public record Slot(Parameter parameter, Tensor mean, Tensor square, double rateFactor) {}

    /**
     * One step's numbers, and the factors that follow from them, rounded as torch rounds them.
     *
     * @param learningRate before a slot's factor
     * @param number t, from 1
     * @param gradientScale what gradients are multiplied by
     */
    public record Step(Options options, double learningRate, long number, float gradientScale) {

        /** 1 − lr·weightDecay. */
        public float keep(Slot slot) {
            return (float) (1 - learningRate * slot.rateFactor * options.weightDecay);
        }

        /** 1 − β1, the weight of the new gradient in m. */
        public float meanWeight() {
            return (float) (1 - options.beta1);
        }

        /** β2. */
        public float squareDecay() {
            return (float) options.beta2;
        }

        /** 1 − β2. */
        public float squareWeight() {
            return (float) (1 - options.beta2);
        }

        /** sqrt(1 − β2ᵗ). */
        public float squareCorrection() {
            return (float) Math.sqrt(1 - StrictMath.pow(options.beta2, number));
        }

        public float epsilon() {
            return (float) options.epsilon;
        }

        /** lr / (1 − β1ᵗ). */
        public float size(Slot slot) {
            return (float) (learningRate * slot.rateFactor / (1 - StrictMath.pow(options.beta1, number)));
        }
    }

    /** What a backend provides. */
    public interface Kernel {

        /**
         * Moves the slots' parameters, means and squares on by one step; their gradients stay as they are.
         *
         * @param slots the same list at every step
         */
        void step(List<Slot> slots, Step step);
    }

    private final Options options;
    private final List<Slot> slots;
    private long steps;

    /** An optimizer of its state at zero. */
    public AdamW(Parameters parameters, Options options, ModelMemory memory) {
        this(parameters, options, memory, parameter -> 1);
    }

    /**
     * An optimizer of its state at zero, with learning rates that differ.
     *
     * @param memory for m and v
     * @param rateFactor what the learning rate is multiplied by for a parameter
     */
    public AdamW(Parameters parameters, Options options, ModelMemory memory, ToDoubleFunction<Parameter> rateFactor) {
        this.options = options;
        List<Slot> made = new ArrayList<>();
        for (Parameter parameter : parameters) {
            long[] dims = parameter.value().shape().dims();
            Tensor mean = memory.zeros(DType.F32, dims);
            Tensor square = memory.zeros(DType.F32, dims);
            made.add(new Slot(parameter, mean, square, rateFactor.applyAsDouble(parameter)));
        }
        this.slots = List.copyOf(made);
    }

    /**
     * One step on the gradients as they are now.
     *
     * @param gradientScale what gradients are multiplied by first: the clip factor
     */
    public void step(double learningRate, float gradientScale) {
        steps++;
        if (!slots.isEmpty()) {
            Step step = new Step(options, learningRate, steps, gradientScale);
            slots.getFirst().mean.device().kernel(Kernel.class).step(slots, step);
        }
    }

    public Options options() {
        return options;
    }

    /** The state, in the parameters' order: a checkpoint writes its tensors, a resumed run overwrites them. */
    public List<Slot> slots() {
        return slots;
    }

    /** How many steps have been made. */
    public long steps() {
        return steps;
    }

    /** Goes on as after {@code made} steps; the tensors of {@link #slots} must have been set to what they were then. */
    public void resume(long made) {
        if (made < 0) {
            throw new IllegalArgumentException("AdamW: steps made should be 0 or more, found " + made);
        }
        steps = made;
    }
}
