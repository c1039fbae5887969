package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.safetensors.SafetensorsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LoraAdapterTest {

    private static final LoraConfig ALL =
            LoraConfig.builder().targetModules(new TargetModules.AllLinear()).build();

    @TempDir
    Path directory;

    private final CpuDevice device = new CpuDevice(1);
    private final ModelMemory memory = new ModelMemory(device);
    private final List<AdaptableLinear> linears = TestLinears.tiny(memory);

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    private float[] value(LoraAdapter adapter, String name) {
        for (Parameter parameter : adapter.parameters()) {
            if (parameter.name().equals(name)) {
                return parameter.value().toFloats();
            }
        }
        throw new AssertionError("no parameter " + name);
    }

    private static String key(int layer, String module, String matrix) {
        return "base_model.model.model.layers." + layer + "." + module + ".lora_" + matrix + ".weight";
    }

    @Test
    void aNewAdaptersAIsUniformAndItsBZero() {
        LoraAdapter adapter = LoraAdapter.create(ALL.toBuilder().r(64).build(), linears, memory, 42);
        assertEquals(2 * linears.size(), adapter.parameters().list().size());
        float[] a = value(adapter, key(1, "mlp.down_proj", "A")); // [64, 200]
        double bound = 1 / Math.sqrt(200);
        double sum = 0;
        double squares = 0;
        float largest = 0;
        for (float x : a) {
            sum += x;
            squares += (double) x * x;
            largest = Math.max(largest, Math.abs(x));
        }
        assertTrue(largest <= bound && largest > 0.999 * bound, "largest " + largest);
        // of n uniform numbers: mean within 4 standard errors, variance bound²/3
        assertEquals(0, sum / a.length, 4 * bound / Math.sqrt(3.0 * a.length));
        assertEquals(bound * bound / 3, squares / a.length, 0.03 * bound * bound);
        assertArrayEquals(new float[96 * 64], value(adapter, key(1, "mlp.down_proj", "B")));
    }

    @Test
    void aDependsOnSeedAndLinearAlone() {
        LoraAdapter all = LoraAdapter.create(ALL, linears, memory, 42);
        LoraAdapter queries =
                LoraAdapter.create(LoraConfig.builder().targetModules("q_proj").build(), linears, memory, 42);
        LoraAdapter other = LoraAdapter.create(ALL, linears, memory, 43);
        String name = key(1, "self_attn.q_proj", "A");
        assertArrayEquals(value(all, name), value(queries, name));
        assertNotEqual(value(all, name), value(other, name));
        assertNotEqual(value(all, name), value(all, key(2, "self_attn.q_proj", "A")));
    }

    private static void assertNotEqual(float[] a, float[] b) {
        int same = 0;
        for (int i = 0; i < a.length; i++) {
            same += a[i] == b[i] ? 1 : 0;
        }
        assertTrue(same < a.length / 100, same + " of " + a.length + " are the same");
    }

    @Test
    void ranksAndScalesFollowThePatterns() {
        LoraConfig config = ALL.toBuilder()
                .rankPattern(Map.of("q_proj", 3))
                .alphaPattern(Map.of("down_proj", 2.0))
                .build();
        LoraAdapter adapter = LoraAdapter.create(config, linears, memory, 1);
        assertEquals(3 * 96, value(adapter, key(0, "self_attn.q_proj", "A")).length);
        adapter.attach();
        LoraLayer down = (LoraLayer) linears.get(6).attached();
        assertEquals(0.25f, down.matrices().scale());
    }

    @Test
    void anAdapterThatMeansNothingIsRefused() {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> LoraAdapter.create(
                        LoraConfig.builder().targetModules("q_prj", "w").build(), linears, memory, 1));
        assertEquals(
                "target_modules [q_prj, w] should match linears of the model, found none among q_proj, k_proj, v_proj,"
                        + " o_proj, gate_proj, up_proj, down_proj, such as model.layers.0.self_attn.q_proj",
                e.getMessage());
    }

    @Test
    void aRankThatNoMatrixCanHaveIsRefused() {
        LoraConfig config = LoraConfig.builder().r(Integer.MAX_VALUE).build();
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> LoraAdapter.create(config, linears, memory, 1));
        assertEquals(
                "the rank of the adapter on model.layers.0.self_attn.q_proj should be at most 16777215, since a matrix can"
                        + " have 2147483639 elements, found 2147483647",
                e.getMessage());
        LoraConfig above =
                LoraConfig.builder().r(201).targetModules("mlp.down_proj").build();
        assertEquals(
                201L * (200 + 96) * 3,
                LoraAdapter.create(above, linears, memory, 1).parameters().size());
    }

    @Test
    void adaptersAreSwitchedOffAndSwapped() {
        LoraAdapter all = LoraAdapter.create(ALL, linears, memory, 1);
        LoraAdapter queries =
                LoraAdapter.create(LoraConfig.builder().targetModules("q_proj").build(), linears, memory, 2);
        all.attach();
        assertTrue(all.isAttached());
        assertNotNull(linears.get(1).attached());
        queries.attach();
        assertTrue(queries.isAttached());
        assertFalse(all.isAttached());
        assertNull(linears.get(1).attached(), "of the adapter before");
        all.detach();
        assertTrue(queries.isAttached(), "another's detach leaves it");
        queries.detach();
        linears.forEach(linear -> assertNull(linear.attached()));
    }

    @Test
    void gradientsTakeMemoryOnlyOnceTheyAreWanted() {
        long before = memory.bytes();
        LoraAdapter adapter = LoraAdapter.create(ALL, linears, memory, 1);
        long matrices = memory.bytes() - before;
        long size = adapter.parameters().size();
        assertEquals(4 * size, matrices);
        assertEquals(8 * size, memory.bytes() - before);
    }

    @Test
    void whatIsSavedIsLoaded() throws IOException {
        LoraConfig config = ALL.toBuilder().r(5).loraAlpha(7).loraDropout(0.1).build();
        LoraAdapter adapter = LoraAdapter.create(config, linears, memory, 42);
        Path target = directory.resolve("adapter");
        adapter.save(target, "org/base");
        assertEquals(List.of("README.md", "adapter_config.json", "adapter_model.safetensors"), names(target));
        assertEquals(List.of("adapter"), names(directory));

        LoraAdapter loaded = LoraAdapter.load(target, linears, memory);
        List<String> targets = List.of("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj");
        LoraConfig expected = config.toBuilder()
                .targetModules(new TargetModules.Names(targets))
                .baseModelNameOrPath("org/base")
                .build();
        assertEquals(expected, loaded.config());
        assertEquals(adapter.modules(), loaded.modules());
        for (Parameter parameter : adapter.parameters()) {
            assertArrayEquals(parameter.value().toFloats(), value(loaded, parameter.name()), parameter.name());
        }
        try (SafetensorsFile file = SafetensorsFile.open(target.resolve(PeftFiles.WEIGHTS))) {
            assertEquals(Map.of("format", "pt"), file.metadata());
            assertEquals("F32 [5, 96]", file.entry(key(0, "mlp.up_proj", "A")).toString());
        }
    }

    private static List<String> names(Path in) throws IOException {
        try (Stream<Path> list = Files.list(in)) {
            return list.map(p -> p.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void namesThatMeanMoreThanTheAdapterAreWrittenInFull() throws IOException {
        List<AdaptableLinear> odd = List.of(
                TestLinears.linear("model.layers.0.proj", 4, 6, memory),
                TestLinears.linear("model.proj.lm_head", 4, 6, memory),
                TestLinears.linear("other.lm_head.proj", 4, 6, memory));
        LoraConfig regex = ALL.toBuilder()
                .targetModules(new TargetModules.Regex("model\\.layers.*"))
                .build();
        assertEquals(List.of("model.layers.0.proj"), Targets.of(regex, odd).names());
        assertEquals(List.of("proj"), Targets.of(ALL, odd).names());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            quoteCharacter = '`',
            value = {
                ".*layers\\.0\\..*;7",
                "model\\.layers\\.[12](\\..*_proj)?;14",
                ".*self_attn.*;12",
                ".*\\.mlp\\.(act_fn|up_proj);3",
                "(model|.*q_proj);3",
                "(model\\.rotary_emb|.*q_proj);3",
                "q_proj,mlp;3",
                "q_proj,0;3",
                "input_layernorm,k_proj;3",
                "norm,k_proj;3"
            })
    void targetsThatMeanMoreThanLinearsAreWrittenAsLinears(String targets, int count) throws IOException {
        LoraConfig config =
                LoraConfig.builder().targetModules(TargetModules.parse(targets)).build();
        LoraAdapter adapter = LoraAdapter.create(config, linears, memory, 1);
        assertEquals(count, adapter.modules().size());
        adapter.save(directory, "base");
        LoraConfig saved = PeftFiles.readConfig(directory);
        TargetModules.Names names = assertInstanceOf(TargetModules.Names.class, saved.targetModules());
        for (String module : List.of("model", "model.norm", "model.layers.0", "model.layers.0.mlp.act_fn")) {
            assertFalse(names.matches(module), module + " in " + names);
        }
        assertEquals(
                adapter.modules(), LoraAdapter.load(directory, linears, memory).modules());
    }

    @Test
    void layersOfTargetsThatMeanMoreThanLinearsAreWrittenAsLinears() throws IOException {
        LoraConfig config = LoraConfig.builder()
                .targetModules("q_proj", "mlp")
                .layersToTransform(List.of(1))
                .build();
        LoraAdapter.create(config, linears, memory, 1).save(directory, "base");
        assertEquals(
                config.toBuilder()
                        .targetModules("model.layers.1.self_attn.q_proj")
                        .baseModelNameOrPath("base")
                        .build(),
                PeftFiles.readConfig(directory));
    }

    @ParameterizedTest
    @ValueSource(strings = {".*layers\\.0\\..*_proj", ".*[qv]_proj", "k_proj,mlp.up_proj", "q_proj"})
    void targetsThatMeanLinearsAloneAreWrittenAsTheyAre(String targets) throws IOException {
        LoraConfig config = LoraConfig.builder()
                .targetModules(TargetModules.parse(targets))
                .baseModelNameOrPath("base")
                .build();
        LoraAdapter.create(config, linears, memory, 1).save(directory, "base");
        assertEquals(config, PeftFiles.readConfig(directory));
    }

    @Test
    void theCardNamesTheBaseAndTheLibrary() throws IOException {
        LoraAdapter.create(LoraConfig.builder().build(), linears, memory, 1).save(directory, "some/base-1B");
        String card = Files.readString(directory.resolve("README.md"));
        assertTrue(card.startsWith("""
                        ---
                        base_model: some/base-1B
                        library_name: peft
                        pipeline_tag: text-generation
                        tags:
                        - "base_model:adapter:some/base-1B"
                        - lora
                        """), card);
    }

    @Test
    void aCardThatIsThereIsLeftAsItIs() throws IOException {
        Files.writeString(directory.resolve("README.md"), "mine");
        LoraAdapter adapter = LoraAdapter.create(LoraConfig.builder().build(), linears, memory, 1);
        adapter.save(directory, "base");
        adapter.save(directory, "base");
        assertEquals("mine", Files.readString(directory.resolve("README.md")));
        assertEquals(List.of("README.md", "adapter_config.json", "adapter_model.safetensors"), names(directory));
    }
}
