package io.qlora.trainer;

/**
 * How well a model predicts a data set.
 *
 * @param nll mean negative log-likelihood per target token, nats
 * @param targets how many tokens were predicted
 * @param tokens how many were read
 * @param seconds it took
 */
public record Evaluation(double nll, long targets, long tokens, double seconds) {

    /** e to the mean negative log-likelihood. */
    public double perplexity() {
        return Math.exp(nll);
    }
}
