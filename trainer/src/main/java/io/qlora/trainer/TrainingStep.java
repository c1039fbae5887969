package io.qlora.trainer;

import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.llama.LlamaModel;
import io.qlora.trainer.data.Batches;
import io.qlora.trainer.data.Document;
import java.util.List;

/**
 * One optimizer step: forward and backward over each micro-batch, the norm, clipping, the update. The loss is the sum over
 * the target tokens of the whole step divided by their number, so how the step is split changes nothing but memory. The
 * device is waited for once, when losses and norm are read before the update.
 */
final class TrainingStep {

    /** What a step showed. */
    record Result(double loss, double gradNorm, int tokens, int targets) {}

    private final LlamaModel model;
    private final Parameters parameters;
    private final AdamW optimizer;
    private final StepMemory memory;
    private final TrainingConfig config;
    private final LastGood lastGood;

    /**
     * Steps of a run.
     *
     * @param state for a copy of the parameters
     * @param memory for activations
     */
    TrainingStep(
            LlamaModel model,
            Parameters parameters,
            AdamW optimizer,
            ModelMemory state,
            StepMemory memory,
            TrainingConfig config) {
        this.model = model;
        this.parameters = parameters;
        this.optimizer = optimizer;
        this.memory = memory;
        this.config = config;
        this.lastGood = new LastGood(parameters, state);
    }

    /**
     * Does a step.
     *
     * @param step counted from 1
     * @param learningRate of this step
     * @throws NonFiniteException if loss or gradients are not finite; the parameters are then the last that gave finite ones
     */
    Result run(long step, List<Document> documents, double learningRate) {
        int targets = documents.stream().mapToInt(Document::targetCount).sum();
        int tokens = documents.stream().mapToInt(Document::length).sum();
        float[] found = gradients(documents, 1f / targets, new StepKey(config.seed(), step));
        float norm = found[found.length - 1];
        double loss = 0;
        for (int part = 0; part < found.length - 1; part++) {
            loss += found[part];
        }
        if (!Double.isFinite(loss) || !Float.isFinite(norm)) {
            throw nonFinite(step, documents, loss);
        }
        lastGood.keep();
        float clip = config.maxGradNorm() > 0 ? GradientNorm.clip(norm, (float) config.maxGradNorm()) : 1;
        optimizer.step(learningRate, clip);
        memory.requireEmpty();
        return new Result(loss, norm, tokens, targets);
    }

    /** Sets the parameters' gradients, and returns the micro-batches' parts of the loss and the norm: all that is waited for. */
    private float[] gradients(List<Document> documents, float scale, StepKey key) {
        List<List<Document>> parts = Batches.split(documents, config.batchSize());
        BumpPool pool = memory.activations();
        BumpPool.Mark mark = pool.mark();
        try {
            Tensor results = pool.empty(DType.F32, Shape.of(parts.size() + 1L));
            parameters.zeroGradients();
            int first = 0;
            for (int part = 0; part < parts.size(); part++) {
                gradients(parts.get(part), first, scale, key, results.rows(part, part + 1L));
                first += parts.get(part).size();
            }
            GradientNorm.of(parameters, results.rows(parts.size(), parts.size() + 1L));
            return results.toFloats();
        } finally {
            pool.release(mark);
        }
    }

    /** Adds a micro-batch's gradients to the parameters', and leaves its part of the loss in {@code result}, F32 [1]. */
    private void gradients(List<Document> documents, int first, float scale, StepKey key, Tensor result) {
        try (Tape tape = Tape.recording(memory, parameters)) {
            MicroBatch batch = MicroBatch.of(memory.activations(), documents, first);
            Tensor loss = model.loss(
                    tape,
                    batch.ids(),
                    batch.sequences(),
                    batch.rows(),
                    batch.targets(),
                    scale,
                    key,
                    config.checkpointing());
            result.device().copy(loss, result);
            tape.backward(loss);
        }
    }

    private NonFiniteException nonFinite(long step, List<Document> documents, double loss) {
        NonFiniteException.Finding finding = new FiniteProbe(model, parameters, memory)
                .find(loss, Batches.split(documents, config.batchSize()), new StepKey(config.seed(), step));
        // A loss that is finite vouches for the parameters, whatever its gradients are.
        long kept = Double.isFinite(loss) ? step - 1 : undo(step - 1);
        return NonFiniteException.inStep(step, kept, finding);
    }

    /**
     * Takes back the update of {@code step}, the last one, unless there has been none.
     *
     * @return the step whose parameters these now are
     */
    long undo(long step) {
        return lastGood.restore() ? step - 1 : step;
    }
}
