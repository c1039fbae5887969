package io.qlora.engine.autograd;

import io.qlora.engine.tensor.Tensor;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** The leaves of a tape, in a fixed order. */
public final class Parameters implements Iterable<Parameter> {

    private static final Parameters NONE = new Parameters(List.of());

    /**
     * All parameters' memory, theirs one behind the other in their order: so that what is done to all of them is done at
     * once.
     *
     * @param values F32 [n]
     * @param gradients F32 [n]
     */
    public record Run(Tensor values, Tensor gradients) {}

    private final List<Parameter> list;
    private final Run run; // or null
    private final Map<Tensor, Parameter> byValue = new IdentityHashMap<>();

    public Parameters(List<Parameter> list) {
        this(list, null);
    }

    /** Parameters whose memory is a run. */
    public Parameters(List<Parameter> list, Run run) {
        this.list = List.copyOf(list);
        this.run = run;
        for (Parameter parameter : list) {
            byValue.put(parameter.value(), parameter);
        }
    }

    /** No leaves: nothing is tracked. */
    public static Parameters none() {
        return NONE;
    }

    public List<Parameter> list() {
        return list;
    }

    /** The parameter whose value is this very tensor, or null. */
    Parameter of(Tensor value) {
        return byValue.get(value);
    }

    /** The values, piece by piece: all of them at once where they are a run. */
    public List<Tensor> values() {
        return run == null ? list.stream().map(Parameter::value).toList() : List.of(run.values);
    }

    /** Sets all gradients to zero, as at the start of an optimizer step. */
    public void zeroGradients() {
        if (run != null) {
            run.gradients.device().zero(run.gradients);
            return;
        }
        for (Parameter parameter : list) {
            parameter.gradient().device().zero(parameter.gradient());
        }
    }

    /** Number of trainable elements. */
    public long size() {
        return list.stream().mapToLong(p -> p.value().size()).sum();
    }

    @Override
    public Iterator<Parameter> iterator() {
        return list.iterator();
    }
}
