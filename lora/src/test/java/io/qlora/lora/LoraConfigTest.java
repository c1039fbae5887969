package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class LoraConfigTest {

    private static final String Q3 = "model.layers.3.self_attn.q_proj";
    private static final String DOWN13 = "model.layers.13.mlp.down_proj";

    private static LoraConfig.Builder targeting(String... names) {
        return LoraConfig.builder().targetModules(names);
    }

    @Test
    void defaultsArePeftsButForAllLinears() {
        LoraConfig config = LoraConfig.builder().build();
        assertEquals(8, config.r());
        assertEquals(8, config.loraAlpha());
        assertEquals(0, config.loraDropout());
        assertEquals(new TargetModules.AllLinear(), config.targetModules());
        assertFalse(config.useRslora());
        assertEquals(1f, config.scale(Q3));
    }

    @Test
    void aListMeansNamesAndEndsOfNamesAfterADot() {
        assertTrue(targeting("q_proj").build().targets(Q3));
        assertTrue(targeting("self_attn.q_proj").build().targets(Q3));
        assertTrue(targeting(Q3).build().targets(Q3));
        assertFalse(targeting("proj").build().targets(Q3));
        assertFalse(targeting("attn.q_proj").build().targets(Q3));
        assertFalse(targeting("q_pro.").build().targets(Q3));
    }

    @Test
    void aStringIsARegexOfTheWholeName() {
        assertTrue(LoraConfig.builder()
                .targetModules(new TargetModules.Regex(".*\\.[0-4]\\..*q_proj"))
                .build()
                .targets(Q3));
        LoraConfig part = LoraConfig.builder()
                .targetModules(new TargetModules.Regex("q_proj"))
                .build();
        assertFalse(part.targets(Q3));
        assertTrue(part.targets("q_proj"));
    }

    @Test
    void allLinearIsEveryLinearButTheHead() {
        LoraConfig all = LoraConfig.builder()
                .targetModules(new TargetModules.AllLinear())
                .build();
        assertTrue(all.targets(Q3));
        assertTrue(all.targets("anything"));
        assertFalse(all.targets("lm_head"));
        assertFalse(all.targets("model.lm_head"));
    }

    @Test
    void layersToTransformKeepsToTheseLayers() {
        LoraConfig config = targeting("q_proj", "down_proj")
                .layersToTransform(List.of(1, 13))
                .build();
        assertFalse(config.targets(Q3));
        assertTrue(config.targets(DOWN13));
        assertFalse(config.targets("model.q_proj"));
        // the first number in a name is the layer's, not an expert's
        assertTrue(config.targets("model.layers.1.experts.3.down_proj"));
        assertFalse(config.targets("model.layers.3.experts.1.down_proj"));
    }

    @Test
    void aNameGivenInFullIsMeantWhateverItsLayer() {
        assertTrue(targeting(Q3).layersToTransform(List.of(7)).build().targets(Q3));
    }

    @Test
    void layersPatternSaysWhatALayersNumberFollows() {
        LoraConfig config = targeting("q_proj")
                .layersToTransform(List.of(3))
                .layersPattern(List.of("blocks", "layers"))
                .build();
        assertTrue(config.targets(Q3));
        assertTrue(config.targets("blocks.3.q_proj"));
        assertFalse(config.targets("model.stages.3.q_proj"));
    }

    @Test
    void alternativesOfALayersPatternAreApartAsInPeft() {
        LoraConfig config = targeting("q_proj")
                .layersToTransform(List.of(3))
                .layersPattern(List.of("blocks|layers"))
                .build();
        assertFalse(config.targets(Q3));
        assertTrue(config.targets("layers.3.self_attn.q_proj"));
        assertFalse(config.targets("model.blocks.3.q_proj"));
        assertTrue(config.toBuilder()
                .layersPattern(List.of("(?:blocks|layers)"))
                .build()
                .targets(Q3));
    }

    @Test
    void layersAreNumbersHoweverTheyAreWritten() {
        LoraConfig config = targeting("q_proj").layersToTransform(List.of(3)).build();
        assertTrue(config.targets("model.layers.0000000003.q_proj"));
        assertFalse(config.targets("model.layers.20260101000000.q_proj"));
    }

    @Test
    void patternsAreReadInPythonsDialect() {
        assertTrue(regex("model\\.layers\\.(?P<n>[0-3])\\..*q_proj").targets(Q3));
        assertEquals(
                2,
                LoraConfig.builder()
                        .rankPattern(Map.of("(?P<n_1>.)_pro(?P=n_1)", 7, "layers\\.(?P<n_1>\\d)\\..*\\Z", 2))
                        .build()
                        .rank(Q3));
        LoraConfig config = targeting("q_proj")
                .layersToTransform(List.of(3))
                .layersPattern(List.of("(?P<stack>[a-z]+)"))
                .build();
        assertTrue(config.targets(Q3));
    }

    private static LoraConfig regex(String pattern) {
        return LoraConfig.builder()
                .targetModules(new TargetModules.Regex(pattern))
                .build();
    }

    @Test
    void thePatternThatMatchesFirstSetsRankAndAlpha() {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        ranks.put("3\\..*", 2);
        ranks.put("q_proj", 4);
        LoraConfig config = LoraConfig.builder()
                .loraAlpha(16)
                .rankPattern(ranks)
                .alphaPattern(Map.of("down_proj", 6.0))
                .build();
        assertEquals(2, config.rank(Q3));
        assertEquals(4, config.rank("model.layers.2.self_attn.q_proj"));
        assertEquals(8, config.rank("model.layers.2.self_attn.xq_proj"));
        assertEquals(6, config.alpha(DOWN13));
        assertEquals(16, config.alpha(Q3));
        assertEquals(8f, config.scale(Q3));
    }

    @Test
    void rankStabilisedScaleIsAlphaByRootOfRank() {
        LoraConfig config =
                LoraConfig.builder().r(16).loraAlpha(16).useRslora(true).build();
        assertEquals(4f, config.scale(Q3));
        assertEquals(
                (float) (16 / Math.sqrt(8)), config.toBuilder().r(8).build().scale(Q3));
    }

    @Test
    void whatIsOutOfRangeIsNamed() {
        assertRefused("r should be at least 1, found 0", LoraConfig.builder().r(0));
        assertRefused(
                "lora_dropout should be from 0 to below 1, found 1.0",
                LoraConfig.builder().loraDropout(1));
        assertRefused(
                "lora_alpha should be a finite number, found NaN",
                LoraConfig.builder().loraAlpha(Double.NaN));
        assertRefused(
                "rank_pattern of q_proj should be at least 1, found 0",
                LoraConfig.builder().rankPattern(Map.of("q_proj", 0)));
        assertRefused(
                "rank_pattern should be a regular expression of Python's dialect, found \"(\": Unclosed group",
                LoraConfig.builder().rankPattern(Map.of("(", 1)));
        assertRefused(
                "layers_pattern should be used only together with layers_to_transform, found [layers]",
                LoraConfig.builder().layersPattern(List.of("layers")));
        assertRefused(
                "layers_to_transform should be used only when target_modules is a list of names, found [1]",
                LoraConfig.builder()
                        .targetModules(new TargetModules.AllLinear())
                        .layersToTransform(List.of(1)));
    }

    private static void assertRefused(String message, LoraConfig.Builder builder) {
        assertEquals(
                message,
                assertThrows(IllegalArgumentException.class, builder::build).getMessage());
    }

    @Test
    void targetModulesAreParsedAsAPersonWritesThem() {
        assertEquals(new TargetModules.AllLinear(), TargetModules.parse("all-linear"));
        assertEquals(TargetModules.of("q_proj"), TargetModules.parse("q_proj"));
        assertEquals(TargetModules.of("v_proj", "q_proj"), TargetModules.parse("q_proj, v_proj"));
        assertEquals(new TargetModules.Regex(".*(q|v)_proj"), TargetModules.parse(".*(q|v)_proj"));
        assertThrows(IllegalArgumentException.class, () -> TargetModules.parse("(q"));
        assertThrows(IllegalArgumentException.class, () -> TargetModules.parse(""));
        assertThrows(IllegalArgumentException.class, () -> TargetModules.parse("q_proj,,v_proj"));
    }
}
