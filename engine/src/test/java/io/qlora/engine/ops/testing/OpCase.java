package io.qlora.engine.ops.testing;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.Supplier;

/**
 * One op under test: its name, what goes in, and how to apply it. Everything {@link OpTest} shows of an op is driven from
 * this one description.
 *
 * <pre>{@code
 * OpCase.of("RmsNorm of five rows", RmsNorm.Kernel.class)
 *         .activation("x", 5, 19)
 *         .leaf("w", 19)
 *         .gives((tape, in) -> RmsNorm.apply(tape, in.get("x"), in.get("w"), 1e-5f));
 * }</pre>
 *
 * Values are drawn from a normal distribution, by the input's name, unless given.
 */
public final class OpCase {

    /** What an input is to the op. */
    public enum Role {
        /** A trainable parameter: the op meets the leaf itself. */
        LEAF,
        /** What an earlier op made of a leaf: may be overwritten by an op that works in place. */
        ACTIVATION,
        /** Not tracked. */
        FROZEN
    }

    /**
     * One input.
     *
     * @param values drawn or given, to be rounded to {@code dtype}; null for integers
     * @param ints the values of an I32 input, or null
     */
    record Input(String name, Role role, DType dtype, Shape shape, Values values, int[] ints) {

        float[] floats() {
            return values == null ? null : values.get();
        }

        boolean hasGradient() {
            return role != Role.FROZEN;
        }
    }

    /** Elements that are drawn when they are first asked for: a case that is only named costs nothing. */
    private static final class Values {

        private final Supplier<float[]> source;
        private float[] drawn;

        Values(Supplier<float[]> source) {
            this.source = source;
        }

        synchronized float[] get() {
            if (drawn == null) {
                drawn = source.get();
            }
            return drawn;
        }
    }

    /** The inputs on the device of a run. */
    public record Inputs(Map<String, Tensor> tensors, ModelMemory memory) {

        /** The input of this name. */
        public Tensor get(String name) {
            Tensor tensor = tensors.get(name);
            if (tensor == null) {
                throw new IllegalArgumentException("no input " + name + " among " + tensors.keySet());
            }
            return tensor;
        }
    }

    /** Applies an op of one output. */
    @FunctionalInterface
    public interface Op {
        Tensor apply(Tape tape, Inputs inputs);
    }

    /** Applies an op of several outputs. */
    @FunctionalInterface
    public interface JointOp {
        List<Tensor> apply(Tape tape, Inputs inputs);
    }

    private final String name;
    private final List<Class<?>> contracts;
    private final List<Input> inputs = new ArrayList<>();
    private JointOp op;
    private double tolerance = 2e-6;
    private double gradientTolerance = 1e-4;
    private double step = 1.0 / 32;
    private boolean nan = true;
    private boolean large;

    private OpCase(String name, List<Class<?>> contracts) {
        this.name = name;
        this.contracts = contracts;
    }

    /**
     * The beginning of a case.
     *
     * @param contracts the kernel contracts that it exercises; none for an op made of others
     */
    public static OpCase of(String name, Class<?>... contracts) {
        return new OpCase(name, List.of(contracts));
    }

    /** A trainable parameter with random values. */
    public OpCase leaf(String input, long... dims) {
        return drawn(input, Role.LEAF, DType.F32, dims);
    }

    /** A trainable parameter. */
    public OpCase leaf(String input, float[] values, long... dims) {
        return given(input, Role.LEAF, DType.F32, values, dims);
    }

    /** The output of an earlier op, with random values. */
    public OpCase activation(String input, long... dims) {
        return drawn(input, Role.ACTIVATION, DType.F32, dims);
    }

    /** The output of an earlier op. */
    public OpCase activation(String input, float[] values, long... dims) {
        return given(input, Role.ACTIVATION, DType.F32, values, dims);
    }

    /** A tensor without gradient, with random values. */
    public OpCase frozen(String input, DType dtype, long... dims) {
        return drawn(input, Role.FROZEN, dtype, dims);
    }

    /** A tensor without gradient, its values rounded to {@code dtype}. */
    public OpCase frozen(String input, float[] values, DType dtype, long... dims) {
        return given(input, Role.FROZEN, dtype, values, dims);
    }

    /** A tensor of integers. */
    public OpCase ints(String input, int[] values, long... dims) {
        return add(new Input(input, Role.FROZEN, DType.I32, Shape.of(dims), null, values), values.length);
    }

    /**
     * How far the vector kernels may be from the scalar ones, in outputs and gradients, as a share of the tensor's largest
     * magnitude. Default 2e-6, about sixteen units in the last place.
     */
    public OpCase within(double share) {
        this.tolerance = share;
        return this;
    }

    /**
     * How far gradients may be from central differences, as a share of the tensor's largest. Default 1e-4.
     *
     * @param size the step of the differences, which are of fourth order: noise is about 1e-7 / step, bias step⁴. Default 1/32
     */
    public OpCase gradientWithin(double share, double size) {
        this.gradientTolerance = share;
        this.step = size;
        return this;
    }

    /** For a case with too many entries to difference all of them: some dozen of each input, spread evenly, have to do. */
    public OpCase large() {
        this.large = true;
        return this;
    }

    /** For a case in which a NaN in some input rightly changes nothing. */
    public OpCase withoutNan() {
        this.nan = false;
        return this;
    }

    /** The op of one output; completes the case. */
    public OpCase gives(Op single) {
        return givesAll((tape, in) -> List.of(single.apply(tape, in)));
    }

    /** The op of several outputs; completes the case. */
    public OpCase givesAll(JointOp joint) {
        this.op = joint;
        return this;
    }

    private OpCase drawn(String input, Role role, DType dtype, long... dims) {
        Shape shape = Shape.of(dims);
        return add(new Input(input, role, dtype, shape, new Values(() -> normal(input, dims)), null), shape.size());
    }

    private OpCase given(String input, Role role, DType dtype, float[] values, long... dims) {
        return add(new Input(input, role, dtype, Shape.of(dims), new Values(() -> values), null), values.length);
    }

    private OpCase add(Input input, long length) {
        if (length != input.shape.size()) {
            throw new IllegalArgumentException(
                    name + ": " + input.name + " " + input.shape + " has " + length + " values");
        }
        inputs.add(input);
        return this;
    }

    /** The kernel contracts this case exercises. */
    public List<Class<?>> contracts() {
        return contracts;
    }

    /** Whether there is anything that a gradient is asked of. */
    public boolean hasGradient() {
        return !leaves().isEmpty();
    }

    List<Input> inputs() {
        return inputs;
    }

    List<Input> leaves() {
        return inputs.stream().filter(Input::hasGradient).toList();
    }

    JointOp op() {
        return op;
    }

    double tolerance() {
        return tolerance;
    }

    double gradientTolerance() {
        return gradientTolerance;
    }

    double step() {
        return step;
    }

    /** How far apart the entries are that are differenced. */
    int stride(Input input) {
        return large ? Math.max(1, input.floats().length / 23) : 1;
    }

    boolean nan() {
        return nan;
    }

    @Override
    public String toString() {
        return name;
    }

    /** Standard normal numbers, always the same for the same key. */
    public static float[] normal(String key, long... dims) {
        SplittableRandom random = new SplittableRandom(key.hashCode());
        float[] values = new float[Math.toIntExact(Shape.of(dims).size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }
}
