package io.qlora.trainer;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.nn.LinearAdapter;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.llama.Checkpointing;
import io.qlora.llama.LlamaModel;
import io.qlora.nf4.WeightLinear;
import io.qlora.trainer.data.Document;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * Finds where numbers stop being finite, once a loss has shown that they do: the same documents go through the model again,
 * with every linear looked at on the way.
 */
final class FiniteProbe {

    private static final long PIECE = 1L << 20; // elements read at a time

    private final LlamaModel model;
    private final Parameters parameters;
    private final StepMemory memory;
    private String found;
    private boolean frozen; // what was found is a weight of the model

    /**
     * A probe of a model.
     *
     * @param parameters what is trained
     * @param memory for activations; nothing is in it
     */
    FiniteProbe(LlamaModel model, Parameters parameters, StepMemory memory) {
        this.model = model;
        this.parameters = parameters;
        this.memory = memory;
    }

    /**
     * The first tensor that is not finite, in words: among the trained parameters, then the normalisations' weights, then on
     * the way forward, then among the gradients, in the order in which they are computed.
     *
     * @param loss what has shown it
     * @param batches micro-batches of documents
     * @param key of the step's dropout, or null for none
     */
    NonFiniteException.Finding find(double loss, List<List<Document>> batches, StepKey key) {
        for (Parameter parameter : parameters) {
            note(parameter.value(), parameter.name());
        }
        if (found == null) {
            model.norms().forEach((name, norm) -> note(norm, name));
            frozen = found != null;
        }
        List<AdaptableLinear> linears = model.linears();
        List<LinearAdapter> attached = new ArrayList<>();
        linears.forEach(linear -> attached.add(linear.attached()));
        linears.forEach(linear -> linear.attach(probe(linear, linear.attached())));
        try {
            int first = 0;
            for (List<Document> batch : batches) {
                forward(batch, first, key);
                first += batch.size();
            }
        } finally {
            for (int i = 0; i < linears.size(); i++) {
                linears.get(i).attach(attached.get(i));
            }
        }
        for (Parameter parameter : parameters.list().reversed()) {
            note(parameter.gradient(), "the gradient of " + parameter.name());
        }
        return new NonFiniteException.Finding(loss, found == null ? "the sum of them" : found, frozen);
    }

    private void forward(List<Document> documents, int first, StepKey key) {
        if (found != null) {
            return;
        }
        try (Tape tape = Tape.inference(memory)) {
            MicroBatch batch = MicroBatch.of(memory.activations(), documents, first);
            Tensor loss = model.loss(
                    tape, batch.ids(), batch.sequences(), batch.rows(), batch.targets(), 1f, key, Checkpointing.NONE);
            if (found == null && !finite(loss)) {
                blame(model.head(), "the weight of the output head", "the logits");
            }
        }
    }

    private LinearAdapter probe(AdaptableLinear linear, LinearAdapter inner) {
        return (Tape tape, Tensor x, Weight base, Sequences sequences, StepKey step) -> {
            if (found == null && !finite(x)) {
                blame(model.embedding(), "the embedding's weight", "the input of " + linear.name());
            }
            Tensor y = inner == null ? WeightLinear.apply(tape, x, base) : inner.apply(tape, x, base, sequences, step);
            if (found == null && !finite(y)) {
                blame(base, linear.name() + ".weight", "the output of " + linear.name());
            }
            return y;
        };
    }

    /** Has found a weight, if it is not finite, or else what was computed with it. */
    private void blame(Weight weight, String name, String otherwise) {
        frozen = !finite(weight);
        found = frozen ? name : otherwise;
    }

    private void note(Tensor tensor, String name) {
        if (found == null && !finite(tensor)) {
            found = name;
        }
    }

    private static boolean finite(Weight weight) {
        return switch (weight) {
            case DenseWeight dense -> finite(dense.tensor());
            case Nf4Weight nf4 ->
                switch (nf4.absmax()) {
                    case Nf4Weight.Plain plain -> finite(plain.values());
                    case Nf4Weight.Nested nested -> finite(nested.absmax2()) && Float.isFinite(nested.offset());
                };
        };
    }

    /** Whether all of a tensor of floats is; a piece at a time, so that a large one is never copied whole. */
    static boolean finite(Tensor tensor) {
        Tensor flat = tensor.reshape(tensor.size());
        for (long from = 0; from < flat.size(); from += PIECE) {
            if (!finitePiece(flat.rows(from, Math.min(flat.size(), from + PIECE)))) {
                return false;
            }
        }
        return true;
    }

    private static boolean finitePiece(Tensor piece) {
        MemorySegment bytes = MemorySegment.ofArray(new byte[Math.toIntExact(piece.byteSize())]);
        piece.device().read(piece, bytes);
        for (long i = 0; i < piece.size(); i++) {
            boolean finite = switch (piece.dtype()) {
                case F32 -> Float.isFinite(bytes.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i));
                case BF16 -> Float.isFinite(Float.intBitsToFloat(bits(bytes, i) << 16));
                case F16 -> Float.isFinite(Float.float16ToFloat(bits(bytes, i)));
                case I32, U8 -> true;
            };
            if (!finite) {
                return false;
            }
        }
        return true;
    }

    private static short bits(MemorySegment bytes, long index) {
        return bytes.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, index);
    }
}
