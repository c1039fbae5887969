package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.safetensors.JsonFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Adapters that PEFT wrote, read and written again. Of the project's own tiny model always; of another where that lies
 * beside the project; of any, with {@code -Dgolden=DIR}.
 */
class AdapterGoldenTest {

    private static final Path TINY = Path.of("src/test/resources/golden/tiny");
    private static final Path STORIES =
            Path.of(System.getProperty("qlora.root", ".."), "..", "shared", "golden", "stories260K");

    @TempDir
    Path directory;

    /** Those of {@link #TINY} all, so that one that is missing fails; elsewhere those that there are. */
    static Stream<Path> adapters() {
        String named = System.getProperty("golden", "");
        Stream<Path> figures = named.isEmpty() ? Stream.of(TINY, STORIES) : Stream.of(Path.of(named));
        return figures.flatMap(dir -> Stream.of("lora", "rslora", "qv").map(kind -> dir.resolve("adapter-" + kind)))
                .filter(adapter -> adapter.startsWith(TINY) || Files.isDirectory(adapter));
    }

    private static List<AdaptableLinear> linears(Path figures, ModelMemory memory) throws IOException {
        ObjectNode config = JsonFiles.readObject(figures.resolve("bnb-4bit/config.json"));
        int width = config.get("hidden_size").intValue();
        int heads = config.get("num_attention_heads").intValue();
        int headSize = config.hasNonNull("head_dim") ? config.get("head_dim").intValue() : width / heads;
        return TestLinears.llama(
                config.get("num_hidden_layers").intValue(),
                width,
                heads * headSize,
                config.get("num_key_value_heads").intValue() * headSize,
                config.get("intermediate_size").intValue(),
                memory);
    }

    @ParameterizedTest
    @MethodSource("adapters")
    void isWrittenAgainToTheByte(Path adapter) throws IOException {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory memory = new ModelMemory(device)) {
            LoraAdapter loaded = LoraAdapter.load(adapter, linears(adapter.getParent(), memory), memory);
            loaded.save(directory, loaded.config().baseModelNameOrPath());
            assertArrayEquals(
                    Files.readAllBytes(adapter.resolve(PeftFiles.WEIGHTS)),
                    Files.readAllBytes(directory.resolve(PeftFiles.WEIGHTS)));
            assertEquals(PeftFiles.readConfig(adapter), PeftFiles.readConfig(directory));
        }
    }
}
