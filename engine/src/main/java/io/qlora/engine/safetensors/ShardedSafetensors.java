package io.qlora.engine.safetensors;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.engine.files.FileErrors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The tensors of a Hugging Face directory: {@code model.safetensors}, or the shards that
 * {@code model.safetensors.index.json} names. All files are opened and checked at once; nothing is read yet.
 */
public final class ShardedSafetensors implements AutoCloseable {

    /** The file of a model that is not sharded. */
    public static final String SINGLE = "model.safetensors";

    /** The list of shards of one that is. */
    public static final String INDEX = "model.safetensors.index.json";

    private final Path directory;
    private final List<SafetensorsFile> files = new ArrayList<>();
    private final Map<String, SafetensorsFile> byTensor = new LinkedHashMap<>();

    private ShardedSafetensors(Path directory) {
        this.directory = directory;
    }

    /**
     * Opens the model in {@code directory}.
     *
     * @throws MalformedFileException naming file and tensor: for a shard outside the directory, one that lacks what the
     *     index says it has, a tensor that two shards have, and whatever {@link SafetensorsFile#open} refuses
     * @throws IOException in a sentence that names the file, if there is none or it cannot be read
     */
    public static ShardedSafetensors open(Path directory) throws IOException {
        FileErrors.requireDirectory(directory);
        ShardedSafetensors tensors = new ShardedSafetensors(directory);
        try {
            if (Files.exists(directory.resolve(SINGLE))) {
                tensors.add(directory.resolve(SINGLE));
            } else if (Files.exists(directory.resolve(INDEX))) {
                tensors.addShards(directory.resolve(INDEX));
            } else {
                throw new NoSuchFileException(
                        directory.toString(),
                        null,
                        "expected " + SINGLE + " or " + INDEX + ", found " + instead(directory));
            }
            return tensors;
        } catch (IOException | RuntimeException e) {
            tensors.close();
            throw e;
        }
    }

    private SafetensorsFile add(Path path) throws IOException {
        SafetensorsFile file = SafetensorsFile.open(path);
        files.add(file);
        for (TensorEntry entry : file.entries()) {
            SafetensorsFile other = byTensor.putIfAbsent(entry.name(), file);
            if (other != null) {
                throw new MalformedFileException(
                        path,
                        "tensor " + entry.name() + " is also in " + other.path().getFileName()
                                + ": it should be in one shard");
            }
        }
        return file;
    }

    private static String instead(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString())
                    .filter(name -> name.matches("pytorch_model.*\\.bin|consolidated.*\\.pth|.*\\.gguf"))
                    .min(Comparator.naturalOrder())
                    .map(name -> name + ": get the model as safetensors"
                            + (name.endsWith(".gguf") ? "" : ", or have transformers save it so, with save_pretrained"))
                    .orElse("neither");
        }
    }

    private void addShards(Path index) throws IOException {
        JsonNode weightMap = JsonFiles.readObject(index).path("weight_map");
        if (!weightMap.isObject()) {
            throw new MalformedFileException(
                    index, "weight_map should be an object of tensor to file, found " + JsonFiles.describe(weightMap));
        }
        Map<String, SafetensorsFile> shards = new LinkedHashMap<>();
        for (Map.Entry<String, JsonNode> field : weightMap.properties()) {
            String shard = requireName(index, field.getKey(), field.getValue());
            SafetensorsFile file = shards.get(shard);
            if (file == null) {
                if (Files.notExists(directory.resolve(shard))) {
                    throw new MalformedFileException(
                            index,
                            "tensor " + field.getKey() + " should be in " + shard
                                    + ", which is not there: get it again");
                }
                file = add(directory.resolve(shard));
                shards.put(shard, file);
            }
            if (!file.contains(field.getKey())) {
                throw new MalformedFileException(
                        file.path(),
                        "expected tensor " + field.getKey() + ", which " + INDEX + " says is here, found none");
            }
        }
    }

    // A bare name: no folder, no way up, on no system. What a link of that name points to is the owner's affair.
    private static String requireName(Path index, String tensor, JsonNode node) throws MalformedFileException {
        String name = node.isTextual() ? node.textValue() : "";
        boolean bare = name.endsWith(".safetensors")
                && name.chars().noneMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ')
                && !name.startsWith(".");
        if (!bare) {
            throw new MalformedFileException(
                    index,
                    "tensor " + tensor
                            + " should be in a .safetensors file of this directory, given by its bare name, found "
                            + JsonFiles.describe(node));
        }
        return name;
    }

    /** Where the files are. */
    public Path directory() {
        return directory;
    }

    /** The files, in the order of the index. */
    public List<SafetensorsFile> files() {
        return Collections.unmodifiableList(files);
    }

    /** Every tensor's description, file by file. */
    public List<TensorEntry> entries() {
        return files.stream().flatMap(file -> file.entries().stream()).toList();
    }

    /** Whether any file has a tensor of this name. */
    public boolean contains(String name) {
        return byTensor.containsKey(name);
    }

    /**
     * The file that has a tensor.
     *
     * @throws MalformedFileException if none has
     */
    public SafetensorsFile file(String name) throws MalformedFileException {
        SafetensorsFile file = byTensor.get(name);
        if (file == null) {
            throw new MalformedFileException(directory, "expected a tensor " + name + ", found none of this name");
        }
        return file;
    }

    /** A tensor's description, as {@link SafetensorsFile#entry}. */
    public TensorEntry entry(String name) throws MalformedFileException {
        return file(name).entry(name);
    }

    @Override
    public void close() throws IOException {
        for (SafetensorsFile file : files) {
            file.close();
        }
    }
}
