package io.qlora.llama;

import io.qlora.engine.tensor.Shape;
import java.util.ArrayList;
import java.util.List;

/** Which tensors a Llama model has, by their Hugging Face names, and of what shape. */
record Layout(LlamaConfig config) {

    /** The extent of a tensor, and what the config calls it. */
    private record Extent(int size, String name) {}

    /**
     * A tensor of the model.
     *
     * @param name as in files, e.g. {@code model.layers.3.self_attn.q_proj.weight}
     * @param words the extents by the config's names, e.g. {@code intermediate_size × hidden_size}
     */
    record Spec(String name, Shape shape, String words) {

        /** The name of the layer whose weight it is. */
        String module() {
            return name.substring(0, name.length() - ".weight".length());
        }

        int out() {
            return Math.toIntExact(shape.dim(0));
        }

        int in() {
            return Math.toIntExact(shape.dim(-1));
        }

        /** As in error messages: {@code [8192, 2048] (intermediate_size × hidden_size)}. */
        @Override
        public String toString() {
            return shape + " (" + words + ")";
        }
    }

    /** The seven linears of a block, in the order of transformers' modules. */
    enum Projection {
        Q("self_attn.q_proj"),
        K("self_attn.k_proj"),
        V("self_attn.v_proj"),
        O("self_attn.o_proj"),
        GATE("mlp.gate_proj"),
        UP("mlp.up_proj"),
        DOWN("mlp.down_proj");

        private final String module;

        Projection(String module) {
            this.module = module;
        }
    }

    static final String LAYERS = "model.layers.";

    Spec embedding() {
        return matrix("model.embed_tokens", new Extent(config.vocabSize(), "vocab_size"), hidden());
    }

    /** The output head, where it is not the embedding. */
    Spec head() {
        return matrix("lm_head", new Extent(config.vocabSize(), "vocab_size"), hidden());
    }

    Spec finalNorm() {
        return norm("model.norm");
    }

    Spec attentionNorm(int layer) {
        return norm(LAYERS + layer + ".input_layernorm");
    }

    Spec feedForwardNorm(int layer) {
        return norm(LAYERS + layer + ".post_attention_layernorm");
    }

    Spec linear(int layer, Projection projection) {
        Extent queries = new Extent(config.queryWidth(), "num_attention_heads·head_dim");
        Extent keys = new Extent(config.keyValueWidth(), "num_key_value_heads·head_dim");
        Extent inner = new Extent(config.intermediateSize(), "intermediate_size");
        String module = LAYERS + layer + "." + projection.module;
        return switch (projection) {
            case Q -> matrix(module, queries, hidden());
            case K, V -> matrix(module, keys, hidden());
            case O -> matrix(module, hidden(), queries);
            case GATE, UP -> matrix(module, inner, hidden());
            case DOWN -> matrix(module, hidden(), inner);
        };
    }

    /** All tensors, that of an untied head included. */
    List<Spec> specs() {
        List<Spec> specs = new ArrayList<>(List.of(embedding(), finalNorm(), head()));
        for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
            specs.add(attentionNorm(layer));
            specs.add(feedForwardNorm(layer));
            for (Projection projection : Projection.values()) {
                specs.add(linear(layer, projection));
            }
        }
        return specs;
    }

    private Extent hidden() {
        return new Extent(config.hiddenSize(), "hidden_size");
    }

    private static Spec matrix(String module, Extent out, Extent in) {
        return new Spec(module + ".weight", Shape.of(out.size, in.size), out.name + " × " + in.name);
    }

    private Spec norm(String module) {
        return new Spec(module + ".weight", Shape.of(config.hiddenSize()), hidden().name);
    }
}
