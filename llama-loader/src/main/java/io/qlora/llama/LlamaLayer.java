package io.qlora.llama;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.util.List;

/**
 * A transformer block (Touvron et al. 2023, arXiv 2302.13971).
 *
 * <pre>
 *   a = norm1(x)      h = x + o(attention(rope(q(a), k(a)), v(a)))
 *   b = norm2(h)      y = h + down(silu(gate(b)) · up(b))
 * </pre>
 *
 * @param attentionNorm norm1 [C]
 * @param q [H·D, C]
 * @param k [K·D, C]
 * @param v [K·D, C]
 * @param o [C, H·D]
 * @param feedForwardNorm norm2 [C]
 * @param gate [F, C]
 * @param up [F, C]
 * @param down [C, F]
 * @param eps of the norms
 */
record LlamaLayer(
        Tensor attentionNorm,
        LlamaLinear q,
        LlamaLinear k,
        LlamaLinear v,
        LlamaLinear o,
        Tensor feedForwardNorm,
        LlamaLinear gate,
        LlamaLinear up,
        LlamaLinear down,
        float eps) {

    /** How queries [T, H·D] attend to keys and values [T, K·D], both rotated already: with [T, H·D] as result. */
    @FunctionalInterface
    interface Attending {
        Tensor apply(Tape tape, Tensor q, Tensor k, Tensor v);
    }

    /**
     * What all blocks share in a pass over the model.
     *
     * @param sequences which rows are which document
     * @param step what dropout is keyed by, or null for none
     * @param table of the positions' angles
     */
    record Pass(Sequences sequences, StepKey step, Rope.Table table) {}

    /** Block {@code index} with weights from {@code source}. */
    static LlamaLayer of(Layout layout, int index, WeightSource source) throws IOException {
        return new LlamaLayer(
                source.norm(layout.attentionNorm(index)),
                linear(layout, index, Layout.Projection.Q, source),
                linear(layout, index, Layout.Projection.K, source),
                linear(layout, index, Layout.Projection.V, source),
                linear(layout, index, Layout.Projection.O, source),
                source.norm(layout.feedForwardNorm(index)),
                linear(layout, index, Layout.Projection.GATE, source),
                linear(layout, index, Layout.Projection.UP, source),
                linear(layout, index, Layout.Projection.DOWN, source),
                (float) layout.config().rmsNormEps());
    }

    private static LlamaLinear linear(Layout layout, int index, Layout.Projection projection, WeightSource source)
            throws IOException {
        Layout.Spec spec = layout.linear(index, projection);
        return new LlamaLinear(spec.module(), source.linear(spec));
    }

    /** The block's output [T, C], of x [T, C]. */
    Tensor forward(Tape tape, Tensor x, Pass pass, Attending attending) {
        Tensor a = RmsNorm.apply(tape, x, attentionNorm, eps); // [T, C]
        Tensor queries = apply(tape, q, a, pass); // [T, H·D]
        Tensor keys = apply(tape, k, a, pass); // [T, K·D]
        Tensor values = apply(tape, v, a, pass); // [T, K·D]
        Rope.Rotated rotated = Rope.apply(tape, queries, keys, pass.table, pass.sequences);
        Tensor attended = attending.apply(tape, rotated.q(), rotated.k(), values); // [T, H·D]
        AddRmsNorm.Result middle = AddRmsNorm.apply(tape, x, apply(tape, o, attended, pass), feedForwardNorm, eps);
        Tensor h = middle.sum(); // [T, C]
        Tensor b = middle.normalised(); // [T, C]
        Tensor gated = SwiGlu.apply(tape, apply(tape, gate, b, pass), apply(tape, up, b, pass)); // [T, F]
        return tape.last(() -> Add.inPlace(tape, h, apply(tape, down, gated, pass)));
    }

    private static Tensor apply(Tape tape, LlamaLinear linear, Tensor x, Pass pass) {
        return linear.apply(tape, x, pass.sequences, pass.step);
    }

    List<LlamaLinear> linears() {
        return List.of(q, k, v, o, gate, up, down);
    }
}
