package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Weight;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class LoadTest {

    private static final String EMBEDDING = "model.embed_tokens.weight";
    private static final String HEAD = "lm_head.weight";
    private static final int[] IDS = {1, 5, 9, 22};

    private static CpuDevice device;

    @TempDir
    private Path temporary;

    @BeforeAll
    static void open() {
        device = new CpuDevice(1);
    }

    @AfterAll
    static void close() {
        device.close();
    }

    private Path model(boolean tied) throws IOException {
        return Models.write(
                temporary.resolve("model"),
                Models.small().tieWordEmbeddings(tied).build(),
                device);
    }

    private static Path weights(Path model) {
        return model.resolve("model.safetensors");
    }

    private static void assertRefused(Path model, LoadOptions options, String... words) {
        IOException e = assertThrows(
                IOException.class, () -> LlamaModel.load(model, options, device).close());
        for (String word : words) {
            assertTrue(e.getMessage().contains(word), e.getMessage() + " should contain " + word);
        }
    }

    @Test
    void aModelThatIsSavedLoadsAsItself() throws IOException {
        LlamaConfig config = Models.small().build();
        Path directory = temporary.resolve("model");
        try (LlamaModel model = LlamaModel.random(config, 7, device)) {
            model.save(directory, DType.F32);
            try (LlamaModel loaded = LlamaModel.load(directory, Models.DENSE, device)) {
                assertEquals(config, loaded.config());
                assertArrayEquals(Models.logits(model, IDS), Models.logits(loaded, IDS));
                assertEquals(model.weightBytes(), loaded.weightBytes());
            }
        }
    }

    @Test
    void aTiedHeadIsTheEmbeddingWhicheverNameItIsStoredUnder() throws IOException {
        Path model = model(true);
        float[] expected = Models.logits(model, Models.DENSE, device, IDS);
        try (LlamaModel loaded = LlamaModel.load(model, Models.DENSE, device)) {
            assertSame(loaded.embedding(), loaded.head());
        }
        TensorFile.edit(weights(model), tensors -> {
            assertTrue(!tensors.containsKey(HEAD));
            tensors.put(HEAD, tensors.remove(EMBEDDING));
            return tensors;
        });
        assertArrayEquals(expected, Models.logits(model, Models.DENSE, device, IDS));
        TensorFile.edit(weights(model), tensors -> {
            tensors.put(EMBEDDING, tensors.get(HEAD));
            return tensors;
        });
        try (LlamaModel both = LlamaModel.load(model, Models.DENSE, device)) {
            assertSame(both.embedding(), both.head());
            assertArrayEquals(expected, Models.logits(both, IDS));
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aHeadThatDiffersFromTheEmbeddingIsUsedThoughTheConfigTiesThem(boolean trainable) throws IOException {
        Path model = model(false);
        LoadOptions options = LoadOptions.builder()
                .quantization(LoadOptions.Quantization.NONE)
                .trainable(trainable)
                .build();
        float[] expected = Models.logits(model, options, device, IDS);
        Models.edit(model.resolve("config.json"), "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
        assertArrayEquals(expected, Models.logits(model, options, device, IDS));
    }

    @Test
    void aMissingHeadIsRefusedUnlessTied() throws IOException {
        Path model = model(false);
        TensorFile.replace(weights(model), HEAD, raw -> null);
        assertRefused(
                model,
                Models.DENSE,
                HEAD + " is missing",
                "[23, 12] (vocab_size × hidden_size)",
                "tie_word_embeddings");
    }

    @Test
    void aModelThatWasSavedWithoutItsHeadIsRefusedWithTheWayOut() throws IOException {
        Path model = model(true);
        TensorFile.edit(weights(model), tensors -> {
            Map<String, TensorFile.Raw> headless = new LinkedHashMap<>();
            tensors.forEach((name, raw) -> headless.put(name.substring("model.".length()), raw));
            return headless;
        });
        assertRefused(
                model,
                Models.DENSE,
                EMBEDDING + " is missing",
                "(vocab_size × hidden_size), found embed_tokens.weight: save the model from LlamaForCausalLM, not from"
                        + " LlamaModel");
    }

    @Test
    void linearsAreNamedAsTransformersNamesThem() throws IOException {
        try (LlamaModel loaded = LlamaModel.load(model(false), Models.DENSE, device)) {
            List<String> names =
                    loaded.linears().stream().map(AdaptableLinear::name).toList();
            assertEquals(14, names.size());
            assertEquals(
                    List.of(
                            "model.layers.1.self_attn.q_proj",
                            "model.layers.1.self_attn.k_proj",
                            "model.layers.1.self_attn.v_proj",
                            "model.layers.1.self_attn.o_proj",
                            "model.layers.1.mlp.gate_proj",
                            "model.layers.1.mlp.up_proj",
                            "model.layers.1.mlp.down_proj"),
                    names.subList(7, 14));
        }
    }

    @ParameterizedTest
    @EnumSource(LoadOptions.Quantization.class)
    void onlyTheBlocksLinearsAreQuantised(LoadOptions.Quantization quantization) throws IOException {
        LoadOptions options = LoadOptions.builder().quantization(quantization).build();
        try (LlamaModel loaded = LlamaModel.load(model(false), options, device)) {
            for (AdaptableLinear linear : loaded.linears()) {
                Class<? extends Weight> expected =
                        quantization == LoadOptions.Quantization.NF4 ? Nf4Weight.class : DenseWeight.class;
                assertInstanceOf(expected, linear.weight());
            }
            assertEquals(DType.F32, loaded.head().tensor().dtype());
        }
    }

    @Test
    void scalesAreQuantisedOnlyIfAskedFor() throws IOException {
        Path model = model(false);
        for (boolean doubleQuant : new boolean[] {false, true}) {
            LoadOptions options = LoadOptions.builder().doubleQuant(doubleQuant).build();
            try (LlamaModel loaded = LlamaModel.load(model, options, device)) {
                Nf4Weight weight = assertInstanceOf(
                        Nf4Weight.class, loaded.linears().getFirst().weight());
                assertEquals(doubleQuant, weight.absmax() instanceof Nf4Weight.Nested);
            }
        }
    }

    @Test
    void sixteenBitWeightsStaySixteenBit() throws IOException {
        try (LlamaModel loaded = LlamaModel.load(Golden.TINY.model(), Models.DENSE, device)) {
            assertEquals(DType.BF16, loaded.head().tensor().dtype());
            DenseWeight weight = assertInstanceOf(
                    DenseWeight.class, loaded.linears().getFirst().weight());
            assertEquals(DType.BF16, weight.tensor().dtype());
        }
    }

    @Test
    void halfPrecisionWeightsAreRead() throws IOException {
        Path model = model(false);
        float[] expected = Models.logits(model, Models.DENSE, device, IDS);
        TensorFile.edit(weights(model), tensors -> {
            tensors.replaceAll((name, raw) -> raw.half());
            return tensors;
        });
        float[] found = Models.logits(model, Models.DENSE, device, IDS);
        double difference = Models.largestDifference(expected, found);
        assertTrue(difference > 0 && difference < 1e-2, "largest difference " + difference);
    }

    @Test
    void missingTensorsAndWrongShapesAndTypesAreNamed() throws IOException {
        String up = "model.layers.1.mlp.up_proj.weight";
        Path model = model(false);
        byte[] whole = Files.readAllBytes(weights(model));
        TensorFile.replace(weights(model), up, raw -> null);
        assertRefused(model, Models.DENSE, up + " is missing", "[20, 12] (intermediate_size × hidden_size)");
        Files.write(weights(model), whole);
        TensorFile.replace(weights(model), up, raw -> raw.withShape(12, 20));
        assertRefused(
                model,
                LoadOptions.defaults(),
                "model.safetensors: " + up + ": expected [20, 12] (intermediate_size × hidden_size), found [12, 20]");
        Files.write(weights(model), whole);
        TensorFile.replace(weights(model), up, raw -> new TensorFile.Raw("I8", new long[] {20, 12}, new byte[240]));
        assertRefused(model, Models.DENSE, up + ": its type should be F32, F16 or BF16, found I8");
        Files.write(weights(model), whole);
        TensorFile.replace(weights(model), "model.norm.weight", raw -> raw.withShape(1, 12));
        assertRefused(model, Models.DENSE, "model.norm.weight: expected [12] (hidden_size), found [1, 12]");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "model.layers.0.self_attn.q_proj.bias",
                "model.layers.0.self_attn.q_norm.weight",
                "model.layers.2.mlp.up_proj.weight"
            })
    void aTensorInABlockThatIsNoneOfLlamasIsRefused(String name) throws IOException {
        Path model = model(false);
        TensorFile.edit(weights(model), tensors -> {
            tensors.put(name, TensorFile.Raw.floats(1, 2));
            return tensors;
        });
        assertRefused(model, Models.DENSE, "found " + name + " too", "num_hidden_layers 2");
    }

    @Test
    void tensorsWithoutAPartInTheComputationAreLeftOut() throws IOException {
        Path model = model(false);
        float[] expected = Models.logits(model, Models.DENSE, device, IDS);
        TensorFile.edit(weights(model), tensors -> {
            tensors.put("model.layers.0.self_attn.rotary_emb.inv_freq", TensorFile.Raw.floats(1, 2));
            tensors.put("vision_tower.weight", TensorFile.Raw.floats(1, 2));
            return tensors;
        });
        assertArrayEquals(expected, Models.logits(model, Models.DENSE, device, IDS));
    }

    @Test
    void anIndexThatPointsOutsideItsDirectoryIsRefused() throws IOException {
        Path model = Models.copy(Golden.TINY.model(), temporary.resolve("sharded"));
        Models.edit(model.resolve("model.safetensors.index.json"), "model-00002-of-00004", "../model-00002-of-00004");
        assertRefused(model, LoadOptions.defaults(), "model.safetensors.index.json", "../model-00002-of-00004");
    }

    @Test
    void aShardThatIsMissingIsNamed() throws IOException {
        Path model = Models.copy(Golden.TINY.model(), temporary.resolve("sharded"));
        Files.delete(model.resolve("model-00003-of-00004.safetensors"));
        assertRefused(model, LoadOptions.defaults(), "model-00003-of-00004.safetensors");
    }

    @Test
    void aTruncatedFileIsNamed() throws IOException {
        Path model = Models.copy(Golden.TINY.model(), temporary.resolve("sharded"));
        Path shard = model.resolve("model-00004-of-00004.safetensors");
        byte[] bytes = Files.readAllBytes(shard);
        Files.write(shard, Arrays.copyOf(bytes, bytes.length / 2));
        assertRefused(model, LoadOptions.defaults(), "model-00004-of-00004.safetensors", "truncated");
    }

    @Test
    void aDirectoryThatIsMissingOrEmptyOrAFileIsNamed() throws IOException {
        assertRefused(temporary.resolve("nowhere"), LoadOptions.defaults(), "nowhere", "no such directory");
        Path file = Files.writeString(temporary.resolve("file"), "");
        assertRefused(file, LoadOptions.defaults(), "expected a directory");
        Path empty = Files.createDirectory(temporary.resolve("empty"));
        assertRefused(empty, LoadOptions.defaults(), "config.json");
        Path unweighted = model(false);
        Files.delete(weights(unweighted));
        assertRefused(unweighted, LoadOptions.defaults(), "model.safetensors");
    }

    @Test
    void trainableWeightsCannotBeQuantised() {
        LoadOptions.Builder options = LoadOptions.builder().trainable(true);
        assertThrows(IllegalArgumentException.class, options::build);
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void pagesOfATensorAreReleasedOnceItIsQuantised() throws IOException {
        Path model = Models.copy(Golden.TINY.model(), temporary.resolve("sharded"));
        try (LlamaModel dense = LlamaModel.load(model, Models.DENSE, device)) {
            assertTrue(mapped(model) >= dense.weightBytes() / 2, mapped(model) + " bytes");
        }
        assertEquals(0, mapped(model));
        try (LlamaModel quantised = LlamaModel.load(model, LoadOptions.defaults(), device)) {
            long tables = quantised.embedding().byteSize() + quantised.head().byteSize();
            long page = 4096;
            assertTrue(mapped(model) >= tables, mapped(model) + " bytes");
            assertTrue(mapped(model) <= tables + 4 * page, mapped(model) + " bytes");
        }
        assertEquals(0, mapped(model));
    }

    /** Bytes of this process's address space that are files of a directory. */
    private static long mapped(Path directory) throws IOException {
        String path = directory.toRealPath().toString();
        return Files.readAllLines(Path.of("/proc/self/maps")).stream()
                .filter(line -> line.contains(path))
                .mapToLong(line -> {
                    String[] range = line.substring(0, line.indexOf(' ')).split("-");
                    return Long.parseLong(range[1], 16) - Long.parseLong(range[0], 16);
                })
                .sum();
    }
}
