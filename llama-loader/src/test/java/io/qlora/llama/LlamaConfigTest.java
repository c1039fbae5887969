package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LlamaConfigTest {

    @TempDir
    private Path directory;

    /** Reads a config of these fields, single quotes standing for double ones, besides the model's type. */
    private LlamaConfig read(String fields) throws IOException {
        String rest = fields.isEmpty() ? "" : ", " + fields;
        return readAll("{'model_type': 'llama'" + rest + "}");
    }

    private LlamaConfig readAll(String json) throws IOException {
        Files.writeString(directory.resolve("config.json"), json.replace('\'', '"'));
        return LlamaConfig.read(directory);
    }

    private void assertRefused(String fields, String... words) {
        MalformedFileException e = assertThrows(MalformedFileException.class, () -> read(fields));
        assertTrue(e.getMessage().contains("config.json: "), e.getMessage());
        for (String word : words) {
            assertTrue(e.getMessage().contains(word), e.getMessage() + " should contain " + word);
        }
    }

    @Test
    void absentSettingsHaveTheDefaultsOfTransformers() throws IOException {
        LlamaConfig config = read("");
        assertEquals(LlamaConfig.builder().build(), config);
        assertEquals(32000, config.vocabSize());
        assertEquals(4096, config.hiddenSize());
        assertEquals(11008, config.intermediateSize());
        assertEquals(32, config.numHiddenLayers());
        assertEquals(32, config.numKeyValueHeads());
        assertEquals(128, config.headDim());
        assertEquals(2048, config.maxPositionEmbeddings());
        assertEquals(1e-6, config.rmsNormEps());
        assertEquals(RopeParameters.of(10000), config.rope());
        assertEquals(OptionalInt.of(1), config.bosTokenId());
        assertEquals(List.of(2), config.eosTokenIds());
        assertEquals(DType.F32, config.dtype());
        assertNull(config.bitsAndBytes());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "'head_dim': null", "'head_dim': 64"})
    void headDimAbsentOrNullIsHiddenSizeOverHeads(String headDim) throws IOException {
        String fields = "'hidden_size': 512, 'num_attention_heads': 8" + (headDim.isEmpty() ? "" : ", " + headDim);
        assertEquals(64, read(fields).headDim());
    }

    @Test
    void headDimNeedNotBeHiddenSizeOverHeads() throws IOException {
        LlamaConfig config =
                read("'hidden_size': 96, 'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 32");
        assertEquals(128, config.queryWidth());
        assertEquals(64, config.keyValueWidth());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "'dtype': 'bfloat16' | BF16",
                "'torch_dtype': 'bfloat16' | BF16",
                "'torch_dtype': 'float16' | F16",
                "'dtype': 'float16', 'torch_dtype': 'float32' | F16"
            },
            quoteCharacter = '~')
    void dtypeIsReadInBothSpellings(String fields, DType expected) throws IOException {
        assertEquals(expected, read(fields).dtype());
    }

    @Test
    void ropeIsReadInTheSpellingsOfTransformers4And5() throws IOException {
        RopeParameters llama3 = new RopeParameters(500000, new RopeParameters.Llama3(8, 1, 4, 8192));
        String settings =
                "'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0, 'original_max_position_embeddings': 8192";
        String five = "'rope_parameters': {'rope_type': 'llama3', 'rope_theta': 500000.0, " + settings + "}";
        String four = "'rope_theta': 500000, 'rope_scaling': {'rope_type': 'llama3', " + settings + "}";
        String older = "'rope_theta': 500000.0, 'rope_scaling': {'type': 'llama3', " + settings + "}";
        assertEquals(llama3, read(five).rope());
        assertEquals(llama3, read(four).rope());
        assertEquals(llama3, read(older).rope());
        assertEquals(llama3, read(five + ", " + four).rope());
        assertEquals(llama3, read(five + ", 'rope_theta': 10000.0").rope(), "the theta inside counts");
        assertEquals(
                RopeParameters.of(1e6),
                read("'rope_theta': 1e6, 'rope_scaling': null").rope());
        assertEquals(
                RopeParameters.of(1e6),
                read("'rope_parameters': {'rope_theta': 1e6, 'rope_type': 'default'}")
                        .rope());
        assertEquals(
                new RopeParameters(10000, new RopeParameters.Linear(2)),
                read("'rope_scaling': {'type': 'linear', 'factor': 2}").rope());
    }

    @Test
    void emptyRopeSettingsAreNone() throws IOException {
        RopeParameters linear = new RopeParameters(10000, new RopeParameters.Linear(2));
        String settings = "{'rope_type': 'linear', 'factor': 2}";
        assertEquals(
                linear,
                read("'rope_scaling': {}, 'rope_parameters': " + settings).rope());
        assertEquals(
                linear,
                read("'rope_parameters': {}, 'rope_scaling': " + settings).rope());
        assertEquals(
                RopeParameters.of(1e6),
                read("'rope_theta': 1e6, 'rope_scaling': {}").rope());
    }

    // transformers 5.18 computes with 64, 64, 32 and, where neither is given, with max_position_embeddings
    @ParameterizedTest
    @CsvSource({"64, 32, 64", "64, , 64", ", 32, 32", ", , 128"})
    void llama3sContextOutsideItsSettingsCountsBeforeTheOneInside(String outer, String inner, int expected)
            throws IOException {
        String name = "'original_max_position_embeddings': ";
        String found = "'max_position_embeddings': 128, " + (outer == null ? "" : name + outer + ", ")
                + "'rope_scaling': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 1, 'high_freq_factor': 4"
                + (inner == null ? "" : ", " + name + inner) + "}";
        assertEquals(
                new RopeParameters.Llama3(8, 1, 4, expected), read(found).rope().scaling());
    }

    @Test
    void contradictingRopeSettingsAreRefused() {
        assertRefused(
                "'rope_scaling': {'type': 'linear', 'factor': 2}, 'rope_parameters': {'rope_type': 'default'}",
                "rope_scaling and rope_parameters should agree");
    }

    @Test
    void endOfTextIsANumberAListOrNothing() throws IOException {
        assertEquals(
                List.of(128001, 128009),
                read("'eos_token_id': [128001, 128009]").eosTokenIds());
        assertEquals(List.of(7), read("'eos_token_id': 7").eosTokenIds());
        LlamaConfig none = read("'bos_token_id': null, 'eos_token_id': null");
        assertEquals(List.of(), none.eosTokenIds());
        assertEquals(OptionalInt.empty(), none.bosTokenId());
    }

    @Test
    void whatHasNoBearingOnTheModelIsPassedOver() throws IOException {
        assertEquals(
                LlamaConfig.builder().build(),
                read(
                        "'pretraining_tp': 2, 'use_cache': false, 'sliding_window': 4096, 'pad_token_id': 2, 'unheard': [1]"));
        read("'hidden_act': 'swish'");
        read("'architectures': []");
        read("'attention_bias': false, 'mlp_bias': null, 'partial_rotary_factor': 1.0");
    }

    @Test
    void otherArchitecturesAreRefused() {
        MalformedFileException mistral =
                assertThrows(MalformedFileException.class, () -> readAll("{'model_type': 'mistral'}"));
        assertTrue(mistral.getMessage().contains("model_type should be \"llama\""), mistral.getMessage());
        MalformedFileException nameless = assertThrows(MalformedFileException.class, () -> readAll("{}"));
        assertTrue(nameless.getMessage().contains("model_type"), nameless.getMessage());
        assertRefused("'architectures': ['LlamaForSequenceClassification']", "architectures", "LlamaForCausalLM");
        assertRefused("'architectures': 'x'", "architectures");
        assertRefused("'architectures': ['LlamaModel']", "save the model from LlamaForCausalLM, not from LlamaModel");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '~',
            value = {
                "'attention_bias': true | attention_bias should be false",
                "'mlp_bias': true | mlp_bias should be false",
                "'hidden_act': 'gelu' | hidden_act should be \"silu\"",
                "'partial_rotary_factor': 0.5 | partial_rotary_factor should be 1",
                "'rope_parameters': {'partial_rotary_factor': 0.5} | rope_parameters.partial_rotary_factor should be 1",
                "'rope_scaling': {'type': 'dynamic', 'factor': 2} | rope_scaling.type should be",
                "'rope_scaling': {'rope_type': 'yarn', 'factor': 2} | found \"yarn\"",
                "'rope_scaling': {'rope_type': 'linear'} | rope_scaling.factor should be given",
                "'rope_scaling': {'rope_type': 'linear', 'factor': 0} | rope_scaling.factor should be positive",
                "'rope_theta': -1 | rope_theta should be positive",
                "'quantization_config': {'quant_method': 'gptq'} | quantization_config.quant_method should be",
                "'quantization_config': {'load_in_8bit': true} | quantization_config.load_in_8bit should be false",
                "'quantization_config': {'load_in_4bit': true, 'bnb_4bit_quant_type': 'fp4'} | found \"fp4\"",
                "'quantization_config': {'load_in_4bit': true} | bnb_4bit_quant_type should be \"nf4\"",
                "'quantization_config': {} | load_in_4bit should be true, found nothing"
            })
    void whatWouldBeComputedWronglyIsRefused(String fields, String words) {
        assertRefused(fields, words.replace('\'', '"'));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '~',
            value = {
                "'attention_bias': true | or take a Llama that has none of this",
                "'mlp_bias': true | or take a Llama that has none of this",
                "'hidden_act': 'gelu' | or take a Llama that has none of this",
                "'partial_rotary_factor': 0.5 | or take a Llama that has none of this",
                "'rope_scaling': {'rope_type': 'yarn', 'factor': 2} | train this one with transformers and peft",
                "'rope_parameters': {'rope_type': 'longrope'} | train this one with transformers and peft",
                "'rope_scaling': {'type': 'dynamic', 'factor': 2} | is computed as \"default\" is: write that"
            })
    void aRefusalNamesTheWayOut(String fields, String wayOut) {
        assertRefused(fields, wayOut);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '~',
            value = {
                "'hidden_size': '64' | hidden_size should be a whole number",
                "'hidden_size': 64.5 | hidden_size should be a whole number",
                "'vocab_size': 99999999999 | vocab_size should be a whole number of at most 2147483647",
                "'vocab_size': 0 | vocab_size should be positive",
                "'num_hidden_layers': 2000000000 | num_hidden_layers should be at most",
                "'num_attention_heads': 3 | hidden_size should be a multiple of num_attention_heads",
                "'num_attention_heads': 0 | found 4096 and 0",
                "'num_key_value_heads': 5 | num_attention_heads should be a multiple of num_key_value_heads",
                "'head_dim': 5 | head_dim should be even",
                "'head_dim': 2147483646 | num_attention_heads × head_dim",
                "'rms_norm_eps': 'tiny' | rms_norm_eps should be a number",
                "'rms_norm_eps': -1 | rms_norm_eps should be from 0 to 1",
                "'tie_word_embeddings': 1 | tie_word_embeddings should be true or false",
                "'eos_token_id': ['</s>'] | eos_token_id should be a whole number or a list",
                "'torch_dtype': 'int8' | torch_dtype should be",
                "'rope_scaling': 'linear' | rope_scaling should be an object"
            })
    void impossibleSettingsAreNamed(String fields, String words) {
        assertRefused(fields, words);
    }

    @Test
    void fourBitCheckpointsAreKnown() throws IOException {
        String quantization = "'quantization_config': {'quant_method': 'bitsandbytes', 'load_in_4bit': true, "
                + "'load_in_8bit': false, 'bnb_4bit_quant_type': 'nf4', 'bnb_4bit_use_double_quant': true}";
        LlamaConfig.BitsAndBytes bitsAndBytes = read(quantization).bitsAndBytes();
        assertNotNull(bitsAndBytes);
        assertTrue(bitsAndBytes.doubleQuant());
    }

    @Test
    void aConfigThatIsMissingOrNoJsonIsNamed() throws IOException {
        IOException missing = assertThrows(IOException.class, () -> LlamaConfig.read(directory));
        assertTrue(missing.getMessage().contains("config.json"), missing.getMessage());
        MalformedFileException cut =
                assertThrows(MalformedFileException.class, () -> readAll("{'model_type': 'llama', "));
        assertTrue(cut.getMessage().contains("config.json"), cut.getMessage());
    }

    @Test
    void aConfigThatIsWrittenReadsAsItself() throws IOException {
        for (RopeParameters rope : List.of(
                RopeParameters.of(500000),
                new RopeParameters(10000, new RopeParameters.Linear(4)),
                new RopeParameters(500000, new RopeParameters.Llama3(32, 1, 4, 8192)))) {
            LlamaConfig config = Models.small()
                    .rope(rope)
                    .rmsNormEps(1e-5)
                    .tieWordEmbeddings(true)
                    .bosTokenId(OptionalInt.empty())
                    .eosTokenIds(List.of(3, 4))
                    .dtype(DType.BF16)
                    .build();
            readAll(ConfigWriter.json(config, true, DType.BF16).toString());
            assertEquals(config, LlamaConfig.read(directory));
        }
    }
}
