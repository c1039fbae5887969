package io.qlora.trainer;

import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.Tensor;
import io.qlora.llama.Checkpointing;
import io.qlora.llama.LlamaModel;
import io.qlora.trainer.data.Batches;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/** Measures how well a model, with whatever adapter is attached, predicts a data set. */
public final class Evaluator {

    private final LlamaModel model;
    private final StepMemory memory;
    private final int batchSize;

    /**
     * An evaluator.
     *
     * @param memory for activations; not in use elsewhere at the same time
     * @param batchSize documents at a time
     */
    public Evaluator(LlamaModel model, StepMemory memory, int batchSize) {
        this.model = model;
        this.memory = memory;
        this.batchSize = batchSize;
    }

    /**
     * Mean negative log-likelihood over all target tokens of {@code data}; dropout is off.
     *
     * @throws NonFiniteException if it is not finite
     */
    public Evaluation evaluate(DataSet data) {
        return evaluate(data, new TrainingListener() {});
    }

    /**
     * {@link #evaluate(DataSet)}, telling how it goes on.
     *
     * @param listener told of {@link TrainingListener#onEvaluating}, and of nothing else
     */
    public Evaluation evaluate(DataSet data, TrainingListener listener) {
        Evaluation evaluation = evaluate(data, listener, () -> false).orElseThrow();
        if (!Double.isFinite(evaluation.nll())) {
            throw NonFiniteException.inEvaluation(diagnose(data, evaluation));
        }
        return evaluation;
    }

    /**
     * The same, but it may be called off, and the result may be anything.
     *
     * @param stop asked between two batches
     * @return empty if it was called off
     */
    Optional<Evaluation> evaluate(DataSet data, TrainingListener listener, BooleanSupplier stop) {
        EvaluationEvent event = new EvaluationEvent();
        event.begin();
        long start = System.nanoTime();
        double sum = 0;
        long tokens = 0;
        listener.onEvaluating(0, data.tokens());
        for (List<Document> part : Batches.split(data.documents(), batchSize)) {
            if (stop.getAsBoolean()) {
                return Optional.empty();
            }
            try (Tape tape = Tape.inference(memory)) {
                MicroBatch batch = MicroBatch.of(memory.activations(), part, 0);
                sum += loss(tape, batch).item();
            }
            tokens += part.stream().mapToLong(Document::length).sum();
            listener.onEvaluating(tokens, data.tokens());
        }
        double seconds = (System.nanoTime() - start) * 1e-9;
        Evaluation evaluation = new Evaluation(sum / data.targets(), data.targets(), data.tokens(), seconds);
        event.nll = evaluation.nll();
        event.targets = evaluation.targets();
        event.commit();
        return Optional.of(evaluation);
    }

    private Tensor loss(Tape tape, MicroBatch batch) {
        return model.loss(
                tape, batch.ids(), batch.sequences(), batch.rows(), batch.targets(), 1f, null, Checkpointing.NONE);
    }

    /** What made an evaluation not finite. */
    NonFiniteException.Finding diagnose(DataSet data, Evaluation evaluation) {
        FiniteProbe probe = new FiniteProbe(model, Parameters.none(), memory);
        return probe.find(evaluation.nll(), Batches.split(data.documents(), batchSize), null);
    }
}
