package io.qlora.llama;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.TensorEntry;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.UnaryOperator;

/** A safetensors file in memory, to be spoilt in ways that a writer would not. */
final class TensorFile {

    /** A tensor as bytes. */
    record Raw(String dtype, long[] shape, byte[] data) {
        Raw withShape(long... dims) {
            return new Raw(dtype, dims, data);
        }

        /** The same numbers, rounded from F32 to F16. */
        Raw half() {
            ByteBuffer floats = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
            ByteBuffer halves = ByteBuffer.allocate(data.length / 2).order(ByteOrder.LITTLE_ENDIAN);
            while (floats.hasRemaining()) {
                halves.putShort(Float.floatToFloat16(floats.getFloat()));
            }
            return new Raw("F16", shape, halves.array());
        }

        static Raw floats(float... values) {
            ByteBuffer buffer = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
            buffer.asFloatBuffer().put(values);
            return new Raw("F32", new long[] {values.length}, buffer.array());
        }

        static Raw text(String utf8) {
            byte[] bytes = utf8.getBytes(StandardCharsets.UTF_8);
            return new Raw("U8", new long[] {bytes.length}, bytes);
        }
    }

    final Map<String, Raw> tensors = new LinkedHashMap<>();

    static TensorFile read(Path path) throws IOException {
        TensorFile file = new TensorFile();
        try (SafetensorsFile source = SafetensorsFile.open(path)) {
            for (TensorEntry entry : source.entries()) {
                file.tensors.put(
                        entry.name(), new Raw(entry.dtype(), entry.shape().dims(), source.readBytes(entry.name())));
            }
        }
        return file;
    }

    /** Reads a file, has it changed, and writes it again. */
    static void edit(Path path, UnaryOperator<Map<String, Raw>> change) throws IOException {
        TensorFile file = new TensorFile();
        file.tensors.putAll(change.apply(read(path).tensors));
        file.write(path);
    }

    /** Changes one tensor of a file; null takes it away. */
    static void replace(Path path, String name, UnaryOperator<Raw> change) throws IOException {
        edit(path, tensors -> {
            Raw raw = change.apply(tensors.get(name));
            if (raw == null) {
                tensors.remove(name);
            } else {
                tensors.put(name, raw);
            }
            return tensors;
        });
    }

    void write(Path path) throws IOException {
        ObjectNode header = JsonNodeFactory.instance.objectNode();
        ByteArrayOutputStream data = new ByteArrayOutputStream();
        for (Map.Entry<String, Raw> tensor : tensors.entrySet()) {
            Raw raw = tensor.getValue();
            ObjectNode entry = header.putObject(tensor.getKey()).put("dtype", raw.dtype);
            Arrays.stream(raw.shape).forEach(entry.putArray("shape")::add);
            entry.putArray("data_offsets").add(data.size()).add(data.size() + raw.data.length);
            data.writeBytes(raw.data);
        }
        byte[] json = new JsonMapper().writeValueAsBytes(header);
        ByteBuffer prefix =
                ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length);
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        all.writeBytes(prefix.array());
        all.writeBytes(json);
        all.writeBytes(data.toByteArray());
        Files.write(path, all.toByteArray());
    }
}
