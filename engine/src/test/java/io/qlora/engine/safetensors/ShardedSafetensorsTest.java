package io.qlora.engine.safetensors;

import static io.qlora.engine.safetensors.TestFiles.entry;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShardedSafetensorsTest {

    @TempDir
    Path directory;

    private void file(String file, String... tensors) throws IOException {
        String[] entries = new String[tensors.length];
        for (int i = 0; i < tensors.length; i++) {
            entries[i] = entry(tensors[i], "U8", "[1]", i, i + 1);
        }
        TestFiles.write(directory.resolve(file), "{" + String.join(",", entries) + "}", tensors.length);
    }

    private Path index(String json) throws IOException {
        return Files.writeString(directory.resolve(ShardedSafetensors.INDEX), json);
    }

    private void assertRefused(Path file, String problem) {
        IOException e = assertThrows(
                IOException.class, () -> ShardedSafetensors.open(directory).close());
        assertEquals(file + ": " + problem, e.getMessage());
    }

    @Test
    void singleFileIsAll() throws IOException {
        file("model.safetensors", "a", "b");
        try (ShardedSafetensors model = ShardedSafetensors.open(directory)) {
            assertEquals(
                    List.of("a", "b"),
                    model.entries().stream().map(TensorEntry::name).toList());
        }
    }

    @Test
    void tensorsAreFoundInTheirShards() throws IOException {
        file("m-1.safetensors", "a", "b");
        file("m-2.safetensors", "c");
        index("{\"metadata\":{\"total_size\":3},\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\","
                + "\"c\":\"m-2.safetensors\"}}");
        try (ShardedSafetensors model = ShardedSafetensors.open(directory)) {
            assertArrayEquals(new byte[] {1}, model.file("b").readBytes("b"));
            assertEquals("U8 [1]", model.entry("c").toString());
            assertEquals(2, model.files().size());
            IOException e = assertThrows(MalformedFileException.class, () -> model.file("d"));
            assertEquals(directory + ": expected a tensor d, found none of this name", e.getMessage());
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "/etc/x.safetensors",
                "../x.safetensors",
                "sub/x.safetensors",
                "sub\\\\x.safetensors",
                "..",
                "",
                "C:x.safetensors",
                "\\u0000.safetensors",
                "x.bin"
            })
    void indexThatPointsOutsideItsDirectoryIsRefused(String shard) throws IOException {
        Path index = index("{\"weight_map\":{\"a\":\"" + shard + "\"}}");
        assertRefused(
                index,
                "tensor a should be in a .safetensors file of this directory, given by its bare name, found \"" + shard
                        + "\"");
    }

    @Test
    void shardThatIsNotThereIsNamed() throws IOException {
        Path index = index("{\"weight_map\":{\"a\":\"m-1.safetensors\"}}");
        assertRefused(index, "tensor a should be in m-1.safetensors, which is not there: get it again");
    }

    @Test
    void shardWithoutItsTensorIsNamed() throws IOException {
        file("m-1.safetensors", "b");
        index("{\"weight_map\":{\"a\":\"m-1.safetensors\"}}");
        assertRefused(
                directory.resolve("m-1.safetensors"),
                "expected tensor a, which model.safetensors.index.json says is here, found none");
    }

    @Test
    void tensorInTwoShardsIsNamed() throws IOException {
        file("m-1.safetensors", "a", "b");
        file("m-2.safetensors", "b");
        index("{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}");
        assertRefused(
                directory.resolve("m-2.safetensors"), "tensor b is also in m-1.safetensors: it should be in one shard");
    }

    @Test
    void tensorTwiceInTheIndexIsRefused() throws IOException {
        Path index = index("{\"weight_map\":{\"a\":\"m-1.safetensors\",\n\"a\":\"m-2.safetensors\"}}");
        assertRefused(index, "the file should be JSON: Duplicate field 'a' at line 2, column 4");
    }

    @Test
    void indexWithoutAMapIsRefused() throws IOException {
        Path index = index("{\"weights\":{}}");
        assertRefused(index, "weight_map should be an object of tensor to file, found nothing");
    }

    @Test
    void directoryWithoutWeightsIsRefused() throws IOException {
        String expected = "expected model.safetensors or model.safetensors.index.json, found ";
        assertRefused(directory, expected + "neither");
        Files.createFile(directory.resolve("pytorch_model.bin"));
        assertRefused(
                directory,
                expected + "pytorch_model.bin: get the model as safetensors, or have transformers save it so, with"
                        + " save_pretrained");
        Files.createFile(directory.resolve("llama-Q4_K_M.gguf"));
        assertRefused(directory, expected + "llama-Q4_K_M.gguf: get the model as safetensors");
    }
}
