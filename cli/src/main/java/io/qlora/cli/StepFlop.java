package io.qlora.cli;

import io.qlora.llama.LlamaConfig;

/**
 * Floating-point operations of a training step, a multiplication and an addition being two: 4 for each frozen weight and
 * token, the head counted, embedding and adapters not; and what attention's products take, each over the pairs of a query and
 * a key that it sees.
 */
enum StepFlop {

    /** Each of attention's products once: two forward, four back. What a step computes at least. */
    LEAST(6),

    /** The scores once more on the way back, since they are not kept: as attention is done, and its rates are given. */
    SCORES_TWICE(7);

    private final int products;

    StepFlop(int products) {
        this.products = products;
    }

    /** 10⁹ of them a token, in documents of so many. */
    double gflopPerToken(LlamaConfig config, int tokens) {
        double c = config.hiddenSize();
        double query = (double) config.numAttentionHeads() * config.headDim();
        double keyValue = (double) config.numKeyValueHeads() * config.headDim();
        double layer = 2 * c * query + 2 * c * keyValue + 3 * c * config.intermediateSize();
        double weights = config.numHiddenLayers() * layer + c * config.vocabSize();
        double pairs = 0.5 * (tokens + 1); // a query's, on average
        return 1e-9 * (4 * weights + config.numHiddenLayers() * products * 2 * pairs * query);
    }
}
