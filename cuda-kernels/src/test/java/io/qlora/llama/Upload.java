package io.qlora.llama;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.lang.reflect.Field;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A model's copy on a card. In the loader's package, since a model keeps its normalisations to itself. */
public final class Upload {

    private Upload() {}

    /** A model of the same configuration and values on another device, but for its linears' weights, which are undefined. */
    public static LlamaModel copy(LlamaModel model, LoadOptions options, Device device) {
        LlamaModel copy = LlamaModel.plan(model.config(), options, device);
        write(model.embedding().tensor(), copy.embedding().tensor());
        write(model.head().tensor(), copy.head().tensor()); // the embedding again, where they are tied
        write((Tensor) field(model, "norm"), (Tensor) field(copy, "norm"));
        List<?> from = (List<?>) field(model, "layers");
        List<?> to = (List<?>) field(copy, "layers");
        for (int i = 0; i < from.size(); i++) {
            LlamaLayer source = (LlamaLayer) from.get(i);
            LlamaLayer target = (LlamaLayer) to.get(i);
            write(source.attentionNorm(), target.attentionNorm());
            write(source.feedForwardNorm(), target.feedForwardNorm());
        }
        return copy;
    }

    private static Object field(LlamaModel model, String name) {
        try {
            Field field = LlamaModel.class.getDeclaredField(name);
            field.setAccessible(true);
            return field.get(model);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    /** The weights of all linears on the card, by name. */
    public static Map<String, Weight> linears(LlamaModel model, ModelMemory memory) {
        Map<String, Weight> copies = new HashMap<>();
        model.linears().forEach(linear -> copies.put(linear.name(), weight(linear.weight(), memory)));
        return copies;
    }

    private static Weight weight(Weight weight, ModelMemory memory) {
        return switch (weight) {
            case DenseWeight dense -> new DenseWeight(tensor(dense.tensor(), memory));
            case Nf4Weight nf4 ->
                new Nf4Weight(nf4.out(), nf4.in(), tensor(nf4.codes(), memory), absmax(nf4.absmax(), memory));
        };
    }

    private static Nf4Weight.Absmax absmax(Nf4Weight.Absmax absmax, ModelMemory memory) {
        return switch (absmax) {
            case Nf4Weight.Plain plain -> new Nf4Weight.Plain(tensor(plain.values(), memory));
            case Nf4Weight.Nested nested ->
                new Nf4Weight.Nested(
                        tensor(nested.codes(), memory),
                        tensor(nested.absmax2(), memory),
                        tensor(nested.map(), memory),
                        nested.offset());
        };
    }

    private static Tensor tensor(Tensor host, ModelMemory memory) {
        Tensor copy = memory.empty(host.dtype(), host.shape().dims());
        write(host, copy);
        return copy;
    }

    private static void write(Tensor host, Tensor card) {
        card.device().write(host.segment(), card);
    }
}
