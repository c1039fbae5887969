package io.qlora.trainer;

import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.llama.LlamaModel;
import io.qlora.trainer.data.Batches;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * The training loop. What is trained is a set of parameters that the model depends on: an adapter's, or the model's own.
 * One thread trains; {@link #requestStop} may come from any.
 */
public final class Trainer implements AutoCloseable {

    /** Writes what a run needs to go on later. */
    public interface Checkpoints {

        /** Keeps parameters and optimizer state after {@code step}. */
        void save(long step, AdamW optimizer) throws IOException;
    }

    /**
     * Where a run begins.
     *
     * @param steps how many a resumed run has already done; 0 for a new one
     * @param evaluated whether the evaluation after them was made, if one was due
     */
    public record Start(long steps, boolean evaluated) {

        /** Nothing was done or measured yet. */
        public static final Start NEW = new Start(0, false);
    }

    /**
     * How a run ended.
     *
     * @param steps that are done, those before it was resumed counted
     * @param stopped whether it was told to stop, and a step or an evaluation that was due has not been made
     */
    public record Outcome(long steps, boolean stopped) {}

    private final LlamaModel model;
    private final Parameters parameters;
    private final TrainingConfig config;
    private final ModelMemory state; // of the optimizer
    private final StepMemory memory;
    private final AdamW optimizer;
    private volatile boolean stopRequested;

    /**
     * A trainer whose optimizer has done no step.
     *
     * @param parameters what is trained
     * @throws IllegalArgumentException if the configuration asks for what the model's device cannot do
     */
    public Trainer(LlamaModel model, Parameters parameters, TrainingConfig config) {
        config.requireOn(model.device());
        this.model = model;
        this.parameters = parameters;
        this.config = config;
        this.state = new ModelMemory(model.device());
        this.memory = new StepMemory(model.device());
        this.optimizer = new AdamW(parameters, AdamW.Options.DEFAULT.withWeightDecay(config.weightDecay()), state);
    }

    /** The optimizer, whose state a checkpoint holds. */
    public AdamW optimizer() {
        return optimizer;
    }

    /** The memory of this trainer's steps, which tells their peak. */
    public StepMemory memory() {
        return memory;
    }

    /** Has the run end after the step that is under way, or in an evaluation before its next batch. */
    public void requestStop() {
        stopRequested = true;
    }

    /**
     * Trains anew, without checkpoints.
     *
     * @param train what to learn
     * @param eval what to measure on, or null
     * @see #train(DataSet, DataSet, Start, Checkpoints, TrainingListener)
     */
    public Outcome train(DataSet train, DataSet eval, TrainingListener listener) throws IOException {
        return train(train, eval, Start.NEW, null, listener);
    }

    /**
     * Trains.
     *
     * @param train what to learn
     * @param eval what to measure on before, after, and every {@link TrainingConfig#evalSteps} steps; or null
     * @param start what was done before
     * @param checkpoints told to save every {@link TrainingConfig#saveSteps} steps; or null
     * @throws IllegalStateException if the optimizer has not done as many steps as the run
     * @throws NonFiniteException if a step or an evaluation gives something that is not finite; the parameters are then the
     *     last that gave finite ones
     */
    public Outcome train(DataSet train, DataSet eval, Start start, Checkpoints checkpoints, TrainingListener listener)
            throws IOException {
        if (optimizer.steps() != start.steps()) {
            throw new IllegalStateException("the run has done " + start.steps() + " steps and its optimizer "
                    + optimizer.steps() + ": restore the state of that checkpoint, or use a new trainer");
        }
        Batches batches = new Batches(train, config.documentsPerStep(), config.seed());
        int total = config.totalSteps(batches.stepsPerEpoch());
        TrainingStep training = new TrainingStep(model, parameters, optimizer, state, memory, config);
        Evaluator evaluator = new Evaluator(model, memory, config.batchSize());
        long step = start.steps();
        boolean evaluated = start.evaluated() || !isEvaluated(step, total);
        if (!evaluated) {
            evaluated = evaluate(evaluator, eval, training, step, listener);
        }
        while (step < total && !stopRequested) {
            step++;
            listener.onStep(run(training, batches, step, total));
            if (isEvaluated(step, total) && step < total) {
                evaluate(evaluator, eval, training, step, listener);
            }
            if (checkpoints != null && config.saveSteps() > 0 && step % config.saveSteps() == 0) {
                checkpoints.save(step, optimizer);
            }
        }
        if (step == total && step > start.steps()) {
            evaluated = evaluate(evaluator, eval, training, step, listener);
        }
        return new Outcome(step, step < total || !evaluated);
    }

    /** Whether the parameters after a step are to be measured. */
    private boolean isEvaluated(long step, int total) {
        return step == 0 || step == total || (config.evalSteps() > 0 && step % config.evalSteps() == 0);
    }

    /** Measures, unless there is nothing to measure on; returns false if the run is to stop before that is done. */
    private boolean evaluate(
            Evaluator evaluator, DataSet eval, TrainingStep training, long step, TrainingListener listener) {
        if (eval == null) {
            return true;
        }
        Optional<Evaluation> made = evaluator.evaluate(eval, listener, () -> stopRequested);
        if (made.isEmpty()) {
            listener.onEvaluationCalledOff(step);
            return false;
        }
        Evaluation evaluation = made.get();
        if (!Double.isFinite(evaluation.nll())) {
            NonFiniteException.Finding finding = evaluator.diagnose(eval, evaluation);
            throw step == 0
                    ? NonFiniteException.inEvaluation(finding)
                    : NonFiniteException.inEvaluationAfter(step, training.undo(step), finding);
        }
        listener.onEvaluation(step, evaluation);
        return true;
    }

    private StepReport run(TrainingStep training, Batches batches, long step, int total) {
        TrainingStepEvent event = new TrainingStepEvent();
        event.begin();
        long start = System.nanoTime();
        List<Document> documents = batches.step(step);
        double learningRate = config.schedule(total).at(step - 1);
        TrainingStep.Result result = training.run(step, documents, learningRate);
        double seconds = (System.nanoTime() - start) * 1e-9;
        event.step = step;
        event.loss = result.loss();
        event.gradNorm = result.gradNorm();
        event.tokens = result.tokens();
        event.peakBytes = memory.peak();
        event.commit();
        double epoch = (double) step / batches.stepsPerEpoch();
        return new StepReport(
                step,
                total,
                epoch,
                result.loss(),
                result.gradNorm(),
                learningRate,
                result.tokens(),
                result.targets(),
                seconds);
    }

    /** Gives back the optimizer's state and the memory of steps; the parameters stay. */
    @Override
    public void close() {
        state.close();
        memory.close();
    }
}
