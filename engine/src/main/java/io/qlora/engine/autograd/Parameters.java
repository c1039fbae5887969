package io.qlora.engine.autograd;

import io.qlora.engine.tensor.Tensor;
import java.util.IdentityHashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

/** The leaves of a tape, in a fixed order. */
public final class Parameters implements Iterable<Parameter> {

    private static final Parameters NONE = new Parameters(List.of());

    private final List<Parameter> list;
    private final Map<Tensor, Parameter> byValue = new IdentityHashMap<>();

    public Parameters(List<Parameter> list) {
        this.list = List.copyOf(list);
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

    /** Sets all gradients to zero, as at the start of an optimizer step. */
    public void zeroGradients() {
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
