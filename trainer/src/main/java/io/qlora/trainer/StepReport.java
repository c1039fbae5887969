package io.qlora.trainer;

/**
 * One optimizer step, done.
 *
 * @param step counted from 1
 * @param totalSteps of the run
 * @param epoch passes over the data so far, in parts
 * @param loss mean negative log-likelihood of the step's target tokens, nats
 * @param gradNorm the global norm of the gradients before clipping
 * @param learningRate that was used
 * @param tokens in the step
 * @param targets tokens predicted
 * @param seconds the step took
 */
public record StepReport(
        long step,
        int totalSteps,
        double epoch,
        double loss,
        double gradNorm,
        double learningRate,
        int tokens,
        int targets,
        double seconds) {}
