package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.llama.LlamaConfig;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** The figures that shares of a peak are stated with, in docs/performance.md and by bench gpu. */
class StepFlopTest {

    @Test
    void aStepOf134mOn256Tokens() {
        LlamaConfig config = BenchCommand.Shape.S134M.config();
        assertEquals(115.8, 256 * StepFlop.LEAST.gflopPerToken(config, 256), 0.05);
    }

    @Test
    void aTokenOfLlama3Of8BInADocumentOf4096() {
        LlamaConfig config = LlamaConfig.builder()
                .vocabSize(128_256)
                .hiddenSize(4096)
                .numHiddenLayers(32)
                .numAttentionHeads(32)
                .numKeyValueHeads(8)
                .intermediateSize(14_336)
                .maxPositionEmbeddings(8192)
                .bosTokenId(OptionalInt.empty())
                .build();
        assertEquals(33.8, StepFlop.SCORES_TWICE.gflopPerToken(config, 4096), 0.05);
        assertEquals(33.2, StepFlop.LEAST.gflopPerToken(config, 4096), 0.05);
    }
}
