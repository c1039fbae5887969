package io.qlora.cuda.bench;

import static io.qlora.cuda.bench.KernelCase.Precision.ELEMENTS;
import static io.qlora.cuda.bench.KernelCase.Precision.EXACT;

import io.qlora.cuda.bench.KernelCase.Work;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.ops.Cast;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.Philox;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import java.util.stream.IntStream;

/** What is bound by memory: elements and rows. */
final class ElementCases {

    private static final float EPSILON = 1e-5f;
    private static final int LOSS_ROWS = 1024; // of a piece of the loss

    static final List<KernelCase> ALL = List.of(
            KernelCase.of("RmsNorm.forward", RmsNorm.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor x = in.activation("x", s.tokens(), s.width());
                Tensor w = in.floats("w", s.width());
                Tensor y = in.output(s.tokens(), s.width());
                Tensor r = in.output(DType.F32, s.tokens());
                RmsNorm.Kernel kernel = in.kernel(RmsNorm.Kernel.class);
                return Work.of(() -> kernel.forward(x, w, EPSILON, y, r));
            }),
            KernelCase.of("RmsNorm.backward", RmsNorm.Kernel.class, ELEMENTS, (in, s) -> norm(in, s, false)),
            KernelCase.checked(
                    "RmsNorm.backward to the weight", RmsNorm.Kernel.class, ELEMENTS, (in, s) -> norm(in, s, true)),
            KernelCase.of("Add.forward", Add.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor x = in.activation("x", s.tokens(), s.width());
                Tensor y = in.activation("y", s.tokens(), s.width());
                Tensor z = in.output(s.tokens(), s.width());
                Add.Kernel kernel = in.kernel(Add.Kernel.class);
                return Work.of(() -> kernel.forward(x, y, z));
            }),
            KernelCase.of("AddRmsNorm.forward", AddRmsNorm.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor x = in.activation("x", s.tokens(), s.width());
                Tensor y = in.activation("y", s.tokens(), s.width());
                Tensor w = in.floats("w", s.width());
                Tensor h = in.output(s.tokens(), s.width());
                Tensor b = in.output(s.tokens(), s.width());
                Tensor r = in.output(DType.F32, s.tokens());
                AddRmsNorm.Kernel kernel = in.kernel(AddRmsNorm.Kernel.class);
                return Work.of(() -> kernel.forward(x, y, w, EPSILON, h, b, r));
            }),
            KernelCase.of("SwiGlu.forward", SwiGlu.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor gate = in.activation("gate", s.tokens(), s.feedForward());
                Tensor up = in.activation("up", s.tokens(), s.feedForward());
                Tensor y = in.output(s.tokens(), s.feedForward());
                SwiGlu.Kernel kernel = in.kernel(SwiGlu.Kernel.class);
                return Work.of(() -> kernel.forward(gate, up, y));
            }),
            KernelCase.of("SwiGlu.backward", SwiGlu.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor gate = in.activation("gate", s.tokens(), s.feedForward());
                Tensor up = in.activation("up", s.tokens(), s.feedForward());
                Tensor dy = in.activation("dy", s.tokens(), s.feedForward());
                Grad dgate = in.gradient("dgate", s.tokens(), s.feedForward());
                Grad dup = in.gradient("dup", s.tokens(), s.feedForward());
                SwiGlu.Kernel kernel = in.kernel(SwiGlu.Kernel.class);
                return Work.of(() -> kernel.backward(gate, up, dy, dgate, dup));
            }),
            KernelCase.of("Rope.forward", Rope.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor q = in.changed("q", s.tokens(), s.width());
                Tensor k = in.changed("k", s.tokens(), s.kvWidth());
                Rope.Table table = angles(in, s);
                Tensor positions = in.ints(IntStream.range(0, s.tokens()).toArray());
                Rope.Kernel kernel = in.kernel(Rope.Kernel.class);
                return Work.of(() -> kernel.forward(q, k, table, positions));
            }),
            KernelCase.of("Rope.backward", Rope.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor dyq = in.activation("dyq", s.tokens(), s.width());
                Tensor dyk = in.activation("dyk", s.tokens(), s.kvWidth());
                Rope.Table table = angles(in, s);
                Tensor positions = in.ints(IntStream.range(0, s.tokens()).toArray());
                Grad dq = in.gradient("dq", s.tokens(), s.width());
                Grad dk = in.gradient("dk", s.tokens(), s.kvWidth());
                Rope.Kernel kernel = in.kernel(Rope.Kernel.class);
                return Work.of(() -> kernel.backward(dyq, dyk, table, positions, dq, dk));
            }),
            KernelCase.of("Dropout.forward", Dropout.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor x = in.activation("x", s.tokens(), s.width());
                Tensor documents = in.ints(new int[s.tokens()]);
                Tensor positions = in.ints(IntStream.range(0, s.tokens()).toArray());
                Tensor y = in.output(s.tokens(), s.width());
                Dropout.Kernel kernel = in.kernel(Dropout.Kernel.class);
                return Work.of(() -> kernel.forward(x, mask(), documents, positions, y));
            }),
            KernelCase.of("Dropout.backward", Dropout.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor dy = in.activation("dy", s.tokens(), s.width());
                Tensor documents = in.ints(new int[s.tokens()]);
                Tensor positions = in.ints(IntStream.range(0, s.tokens()).toArray());
                Grad dx = in.gradient("dx", s.tokens(), s.width());
                Dropout.Kernel kernel = in.kernel(Dropout.Kernel.class);
                return Work.of(() -> kernel.backward(dy, mask(), documents, positions, dx));
            }),
            KernelCase.of("Embedding.forward", Embedding.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor ids = ids(in, s.tokens(), s.vocabulary());
                Tensor table = in.weight("table", s.vocabulary(), s.width());
                Tensor y = in.output(s.tokens(), s.width());
                Embedding.Kernel kernel = in.kernel(Embedding.Kernel.class);
                return new Work(() -> kernel.forward(ids, table, y), 0, 2.0 * y.byteSize());
            }),
            KernelCase.checked("Embedding.backward", Embedding.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor ids = ids(in, s.tokens(), s.vocabulary());
                Tensor dy = in.activation("dy", s.tokens(), s.width());
                Grad dtable = in.parameterGradient("dtable", s.vocabulary(), s.width());
                Embedding.Kernel kernel = in.kernel(Embedding.Kernel.class);
                return Work.of(() -> kernel.backward(ids, dy, dtable));
            }),
            KernelCase.of("LinearCrossEntropy.nll", LinearCrossEntropy.Kernel.class, ELEMENTS, (in, s) -> {
                int rows = Math.min(s.tokens(), LOSS_ROWS);
                Tensor logits = in.changed("logits", rows, s.vocabulary());
                Tensor targets = ids(in, rows, s.vocabulary());
                Tensor nll = in.output(DType.F32, rows);
                LinearCrossEntropy.Kernel kernel = in.kernel(LinearCrossEntropy.Kernel.class);
                return Work.of(() -> kernel.nll(logits, targets, 1f / rows, true, nll));
            }),
            KernelCase.of("LinearCrossEntropy.sum", LinearCrossEntropy.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor nll = in.floats("nll", s.tokens());
                Tensor loss = in.output(DType.F32, 1);
                LinearCrossEntropy.Kernel kernel = in.kernel(LinearCrossEntropy.Kernel.class);
                return Work.of(() -> kernel.sum(nll, 0.5f, loss));
            }),
            KernelCase.of("LinearCrossEntropy.scatter", LinearCrossEntropy.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor gathered = in.activation("gathered", s.tokens() - 1L, s.width());
                Tensor rows = in.ints(IntStream.range(0, s.tokens() - 1).toArray());
                Tensor dloss = in.floats("dloss", 1);
                Grad dx = in.gradient("dx", s.tokens(), s.width());
                LinearCrossEntropy.Kernel kernel = in.kernel(LinearCrossEntropy.Kernel.class);
                return Work.of(() -> kernel.scatter(gathered, rows, dloss, dx));
            }),
            KernelCase.checked("LinearCrossEntropy.scale", LinearCrossEntropy.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor saved = in.floats("saved", s.vocabulary(), s.width());
                Tensor dloss = in.floats("dloss", 1);
                Grad dhead = in.parameterGradient("dhead", s.vocabulary(), s.width());
                LinearCrossEntropy.Kernel kernel = in.kernel(LinearCrossEntropy.Kernel.class);
                return Work.of(() -> kernel.scale(saved, dloss, dhead));
            }),
            KernelCase.of("Cast.forward", Cast.Kernel.class, ELEMENTS, (in, s) -> {
                Tensor x = in.floats("x", s.tokens(), s.width());
                Tensor y = in.output(s.tokens(), s.width());
                Cast.Kernel kernel = in.kernel(Cast.Kernel.class);
                return Work.of(() -> kernel.forward(x, y));
            }),
            KernelCase.of("Uniform.fill", Uniform.Kernel.class, EXACT, (in, s) -> {
                Tensor x = in.output(DType.F32, s.feedForward(), s.width());
                Uniform.Kernel kernel = in.kernel(Uniform.Kernel.class);
                return Work.of(() -> kernel.fill(x, 0.02f, Philox.Key.of(1), 2));
            }),
            KernelCase.checked("Uniform.fill in bfloat16", Uniform.Kernel.class, EXACT, (in, s) -> {
                Tensor x = in.output(DType.BF16, s.feedForward(), s.width());
                Uniform.Kernel kernel = in.kernel(Uniform.Kernel.class);
                return Work.of(() -> kernel.fill(x, 0.02f, Philox.Key.of(1), 2));
            }));

    private ElementCases() {}

    private static Work norm(Operands in, Size s, boolean toTheWeight) {
        Tensor x = in.activation("x", s.tokens(), s.width());
        Tensor w = in.floats("w", s.width());
        Tensor r = in.floats("r", s.tokens());
        Tensor dy = in.activation("dy", s.tokens(), s.width());
        Grad dx = in.gradient("dx", s.tokens(), s.width());
        Grad dw = toTheWeight ? in.parameterGradient("dw", s.width()) : null;
        RmsNorm.Kernel kernel = in.kernel(RmsNorm.Kernel.class);
        return Work.of(() -> kernel.backward(x, w, r, dy, dx, dw));
    }

    private static Rope.Table angles(Operands in, Size s) {
        float[] frequencies = new float[s.headSize() / 2];
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = (float) Math.pow(500_000, -2.0 * i / s.headSize());
        }
        return Rope.Table.of(in.memory(), frequencies, 1, s.tokens());
    }

    private static Dropout.Mask mask() {
        return new Dropout.Mask(0.1f, new StepKey(1, 2), 3);
    }

    /** Some twice. */
    private static Tensor ids(Operands in, int count, int vocabulary) {
        return in.ints(IntStream.range(0, count)
                .map(i -> (int) (i * 7919L % vocabulary / 2))
                .toArray());
    }
}
