package io.qlora.lora;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.nn.LinearAdapter;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Weight;
import java.util.ArrayList;
import java.util.List;

/** The linears of a Llama, of zeros. */
final class TestLinears {

    private TestLinears() {}

    private static final class TestLinear implements AdaptableLinear {
        private final String name;
        private final Weight weight;
        private LinearAdapter attached;

        TestLinear(String name, Weight weight) {
            this.name = name;
            this.weight = weight;
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public Weight weight() {
            return weight;
        }

        @Override
        public void attach(LinearAdapter adapter) {
            attached = adapter;
        }

        @Override
        public LinearAdapter attached() {
            return attached;
        }
    }

    /** The tiny model's: three layers, C 96, H 4, K 2, D 32, F 200. */
    static List<AdaptableLinear> tiny(ModelMemory memory) {
        return llama(3, 96, 128, 64, 200, memory);
    }

    /** All seven linears of each layer: q is H·D, kv is K·D wide. */
    static List<AdaptableLinear> llama(int layers, int width, int q, int kv, int ffn, ModelMemory memory) {
        List<AdaptableLinear> linears = new ArrayList<>();
        for (int i = 0; i < layers; i++) {
            String layer = "model.layers." + i;
            linears.add(linear(layer + ".self_attn.q_proj", q, width, memory));
            linears.add(linear(layer + ".self_attn.k_proj", kv, width, memory));
            linears.add(linear(layer + ".self_attn.v_proj", kv, width, memory));
            linears.add(linear(layer + ".self_attn.o_proj", width, q, memory));
            linears.add(linear(layer + ".mlp.gate_proj", ffn, width, memory));
            linears.add(linear(layer + ".mlp.up_proj", ffn, width, memory));
            linears.add(linear(layer + ".mlp.down_proj", width, ffn, memory));
        }
        return linears;
    }

    static AdaptableLinear linear(String name, int out, int in, ModelMemory memory) {
        return new TestLinear(name, new DenseWeight(memory.zeros(DType.F32, out, in)));
    }
}
