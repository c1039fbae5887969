package io.qlora.cli;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** The tiny model of the tests, and ways to damage a copy of it. */
final class TinyModel {

    /** The model itself, which is left as it is. */
    static final Path DIRECTORY = Path.of("../llama-loader/src/test/resources/models/tiny");

    /** A shard, */
    static final String SHARD = "model-00001-of-00004.safetensors";

    /** and a tensor in it. */
    static final String TENSOR = "model.layers.0.self_attn.q_proj.weight";

    private static final JsonMapper MAPPER = new JsonMapper();

    private TinyModel() {}

    /** A copy that a test may damage. */
    static Path copyTo(Path directory) throws IOException {
        return copy(DIRECTORY, directory);
    }

    /** A copy of a directory of files. */
    static Path copy(Path source, Path target) throws IOException {
        Files.createDirectories(target);
        try (Stream<Path> files = Files.list(source)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, target.resolve(file.getFileName()));
            }
        }
        return target;
    }

    /** Changes a JSON object in a file. */
    static void edit(Path file, Consumer<ObjectNode> change) throws IOException {
        ObjectNode object = (ObjectNode) MAPPER.readTree(Files.readString(file));
        change.accept(object);
        Files.writeString(file, object.toString());
    }

    /** Changes the header of a safetensors file, as text, and its length with it. */
    static void editHeader(Path file, UnaryOperator<String> change) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        int length = Math.toIntExact(
                ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong());
        String header = change.apply(new String(bytes, 8, length, StandardCharsets.UTF_8));
        byte[] changed = header.getBytes(StandardCharsets.UTF_8);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(changed.length)
                .array());
        out.writeBytes(changed);
        out.write(bytes, 8 + length, bytes.length - 8 - length);
        Files.write(file, out.toByteArray());
    }

    /** Changes the header of a safetensors file, as JSON. */
    static void editHeaderJson(Path file, Consumer<ObjectNode> change) throws IOException {
        editHeader(file, header -> {
            try {
                ObjectNode object = (ObjectNode) MAPPER.readTree(header);
                change.accept(object);
                return object.toString();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /**
     * A copy of another size, in files and configuration; its values mean nothing, and what is larger is a hole in a file.
     *
     * @param layers at most as many as there are
     * @param width intermediate_size
     */
    static Path resized(Path directory, int layers, long width) throws IOException {
        copyTo(directory);
        edit(
                directory.resolve("config.json"),
                config -> config.put("num_hidden_layers", layers).put("intermediate_size", width));
        Predicate<String> gone =
                name -> name.matches("model\\.layers\\.\\d+\\..*") && Integer.parseInt(name.split("\\.")[2]) >= layers;
        edit(
                directory.resolve("model.safetensors.index.json"),
                index -> drop((ObjectNode) index.get("weight_map"), gone));
        try (Stream<Path> files = Files.list(directory)) {
            for (Path file : files.filter(path -> path.toString().endsWith(".safetensors"))
                    .toList()) {
                resize(file, gone, width);
            }
        }
        return directory;
    }

    private static void drop(ObjectNode object, Predicate<String> gone) {
        object.properties().removeIf(field -> gone.test(field.getKey()));
    }

    private static void resize(Path file, Predicate<String> gone, long width) throws IOException {
        AtomicLong end = new AtomicLong();
        editHeaderJson(file, header -> {
            drop(header, gone);
            header.properties().stream()
                    .filter(tensor -> !tensor.getKey().equals("__metadata__"))
                    .forEach(tensor ->
                            end.set(resize(tensor.getKey(), (ObjectNode) tensor.getValue(), width, end.get())));
        });
        try (RandomAccessFile opened = new RandomAccessFile(file.toFile(), "rw")) {
            opened.setLength(8 + Long.reverseBytes(opened.readLong()) + end.get());
        }
    }

    /** Describes a tensor of bfloat16 anew, which begins at {@code start}; returns where it ends. */
    private static long resize(String name, ObjectNode entry, long width, long start) {
        ArrayNode shape = (ArrayNode) entry.get("shape");
        long bytes = 2;
        for (int i = 0; i < shape.size(); i++) {
            if (name.contains(".mlp.") && shape.get(i).asInt() == 200) {
                shape.set(i, width);
            }
            bytes *= shape.get(i).asLong();
        }
        entry.putArray("data_offsets").add(start).add(start + bytes);
        return start + bytes;
    }

    /** Overwrites the length of the header. */
    static void writeHeaderLength(Path file, long length) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
        Files.write(file, bytes);
    }

    /** Keeps the first {@code length} bytes. */
    static void truncate(Path file, long length) throws IOException {
        Files.write(file, Arrays.copyOf(Files.readAllBytes(file), Math.toIntExact(length)));
    }

    /** A data file of prompts and completions that the model's tokenizer knows. */
    static Path data(Path file, int records) throws IOException {
        List<String> words = List.of("red", "green", "blue", "lamp", "violin", "word");
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < records; i++) {
            String word = words.get(i % words.size());
            lines.append("{\"prompt\": \"Say ")
                    .append(word)
                    .append(".\", \"completion\": \" ")
                    .append(word)
                    .append("\"}\n");
        }
        return Files.writeString(file, lines);
    }
}
