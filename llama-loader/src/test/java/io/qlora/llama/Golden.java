package io.qlora.llama;

import io.qlora.engine.safetensors.SafetensorsFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * Figures of the reference stack: the project's own, and those beside the project when they are there; or those that
 * {@code -Dgolden=DIR -Dgolden.model=DIR} name, alone.
 *
 * @param figures what {@code generate.py} has written
 * @param model the model they are of
 * @param data the instructions they are of; null when not known
 */
record Golden(Path figures, Path model, Path data) {

    /** What is beside the project. */
    static final Path SHARED = Path.of(System.getProperty("qlora.root", ".."), "..", "shared");

    static final Path RESOURCES = Path.of("src/test/resources");
    static final Golden TINY = in(RESOURCES, "tiny", "tiny_instructions.jsonl");
    static final Golden STORIES = in(SHARED, "stories260K", "rasbt_instructions_train.jsonl");

    private static Golden in(Path root, String name, String data) {
        return new Golden(
                root.resolve("golden").resolve(name),
                root.resolve("models").resolve(name),
                root.resolve("data").resolve(data));
    }

    /** {@link #TINY} always, so that it fails where it is missing. */
    static Stream<Golden> all() {
        if (!System.getProperty("golden", "").isEmpty()) {
            Path model = Path.of(System.getProperty("golden.model"));
            return Stream.of(new Golden(Path.of(System.getProperty("golden")), model, null));
        }
        return Stream.of(TINY, STORIES).filter(golden -> golden != STORIES || Files.isDirectory(golden.figures));
    }

    float[] floats(String file, String tensor) throws IOException {
        try (SafetensorsFile tensors = SafetensorsFile.open(figures.resolve(file))) {
            return tensors.readFloats(tensor);
        }
    }

    int[] ints(String file, String tensor) throws IOException {
        try (SafetensorsFile tensors = SafetensorsFile.open(figures.resolve(file))) {
            ByteBuffer bytes = ByteBuffer.wrap(tensors.readBytes(tensor)).order(ByteOrder.LITTLE_ENDIAN);
            int[] values = new int[bytes.remaining() / Integer.BYTES];
            bytes.asIntBuffer().get(values);
            return values;
        }
    }

    @Override
    public String toString() {
        return figures.getFileName().toString();
    }
}
