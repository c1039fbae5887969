package io.qlora.engine.safetensors;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.tensor.Shape;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The header of a safetensors file: eight bytes of length, little-endian, then JSON of that length,
 * {@code {"__metadata__": {…}, name: {"dtype", "shape", "data_offsets": [begin, end]}, …}}, then the data, which the
 * tensors cover exactly. Everything is checked against the file before anything becomes an address.
 *
 * @param metadata as in the file
 * @param entries by name, as listed in the file
 */
record Header(Map<String, String> metadata, Map<String, TensorEntry> entries) {

    static final String METADATA = "__metadata__";

    /** Bytes of the length in front. */
    static final int PREFIX = 8;

    /** The reference implementation's own limit. */
    private static final long MAX_BYTES = 100_000_000;

    /** Reads and checks the header of the file open at {@code channel}. */
    static Header read(Path file, FileChannel channel) throws IOException {
        long size = channel.size();
        if (size < PREFIX) {
            throw new MalformedFileException(
                    file, "expected a safetensors file, found only " + size + " bytes: is it complete?");
        }
        long length =
                read(file, channel, 0, PREFIX).order(ByteOrder.LITTLE_ENDIAN).getLong();
        if (length < 2 || length > MAX_BYTES) {
            GitLfs.requireContent(file);
            throw new MalformedFileException(
                    file,
                    "the header's length should be 2 to " + MAX_BYTES + " bytes, found " + Long.toUnsignedString(length)
                            + ": is this a safetensors file?");
        }
        if (length > size - PREFIX) {
            throw new MalformedFileException(
                    file,
                    "the header should have " + length + " bytes, but the file ends after " + (size - PREFIX)
                            + ": it is truncated, get it again");
        }
        byte[] json = read(file, channel, PREFIX, (int) length).array();
        if (json[0] != '{') {
            throw new MalformedFileException(file, "the header should start with '{': is this a safetensors file?");
        }
        return new Parser(file, PREFIX + length, size - PREFIX - length)
                .parse(JsonFiles.parseObject(file, "the header", json));
    }

    private static ByteBuffer read(Path file, FileChannel channel, long offset, int bytes) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(bytes);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer, offset + buffer.position()) < 0) {
                throw new MalformedFileException(file, "the file became shorter while it was read");
            }
        }
        return buffer.flip();
    }

    /**
     * From JSON to entries.
     *
     * @param dataStart where the data begins in the file, bytes
     * @param dataBytes how much of it there is
     */
    private record Parser(Path file, long dataStart, long dataBytes) {

        Header parse(ObjectNode json) throws MalformedFileException {
            Map<String, String> metadata = Map.of();
            Map<String, TensorEntry> entries = new LinkedHashMap<>();
            for (Map.Entry<String, JsonNode> field : json.properties()) {
                if (field.getKey().equals(METADATA)) {
                    metadata = metadata(field.getValue());
                } else {
                    entries.put(field.getKey(), entry(field.getKey(), field.getValue()));
                }
            }
            requireCover(new ArrayList<>(entries.values()));
            return new Header(metadata, Collections.unmodifiableMap(entries));
        }

        private Map<String, String> metadata(JsonNode node) throws MalformedFileException {
            if (!node.isObject()) {
                throw new MalformedFileException(
                        file, METADATA + " should be an object of strings, found " + JsonFiles.describe(node));
            }
            Map<String, String> metadata = new LinkedHashMap<>();
            for (Map.Entry<String, JsonNode> field : node.properties()) {
                if (!field.getValue().isTextual()) {
                    throw new MalformedFileException(
                            file,
                            METADATA + ": " + field.getKey() + " should be a string, found "
                                    + JsonFiles.describe(field.getValue()));
                }
                metadata.put(field.getKey(), field.getValue().textValue());
            }
            return Collections.unmodifiableMap(metadata);
        }

        private TensorEntry entry(String name, JsonNode node) throws MalformedFileException {
            if (!node.path("dtype").isTextual()) {
                throw bad(name, "dtype should be a string, found " + JsonFiles.describe(node.path("dtype")));
            }
            String dtype = node.path("dtype").textValue();
            Shape shape = shape(name, node.path("shape"));
            long[] offsets = numbers(name, "data_offsets", node.path("data_offsets"));
            if (offsets.length != 2) {
                throw bad(
                        name,
                        "data_offsets should be [begin, end], found " + JsonFiles.describe(node.path("data_offsets")));
            }
            long begin = offsets[0];
            long end = offsets[1];
            if (begin > end) {
                throw bad(
                        name,
                        "data_offsets should not end before they begin, found "
                                + JsonFiles.describe(node.path("data_offsets")));
            }
            if (end > dataBytes) {
                throw bad(
                        name,
                        "its bytes " + begin + " to " + end + " lie beyond the file's " + dataBytes
                                + " bytes of data: the file is truncated, get it again");
            }
            requireSize(name, dtype, shape, end - begin);
            return new TensorEntry(name, dtype, shape, dataStart + begin, end - begin);
        }

        private Shape shape(String name, JsonNode node) throws MalformedFileException {
            long[] dims = numbers(name, "shape", node);
            try {
                return Shape.of(dims);
            } catch (ArithmeticException e) {
                throw bad(name, "shape " + JsonFiles.describe(node) + " has more elements than any file can hold");
            }
        }

        private long[] numbers(String name, String field, JsonNode node) throws MalformedFileException {
            boolean fits = node.isArray();
            for (JsonNode number : node) {
                fits &= number.isIntegralNumber() && number.canConvertToLong() && number.longValue() >= 0;
            }
            if (!fits) {
                throw bad(
                        name,
                        field + " should be a list of whole numbers from 0 to 2⁶³ − 1, found "
                                + JsonFiles.describe(node));
            }
            long[] numbers = new long[node.size()];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = node.get(i).longValue();
            }
            return numbers;
        }

        // Of a type that is not known, the size is not either: it can be listed, not read.
        private void requireSize(String name, String dtype, Shape shape, long found) throws MalformedFileException {
            Optional<Dtypes> known = Dtypes.of(dtype);
            if (known.isEmpty()) {
                return;
            }
            BigInteger bits = BigInteger.valueOf(shape.size()).multiply(BigInteger.valueOf(known.get().bits));
            if (!bits.equals(BigInteger.valueOf(found).shiftLeft(3))) {
                BigInteger bytes = bits.add(BigInteger.valueOf(7)).shiftRight(3);
                throw bad(name, dtype + " " + shape + " should have " + bytes + " bytes, found " + found);
            }
        }

        private void requireCover(List<TensorEntry> entries) throws MalformedFileException {
            entries.sort(Comparator.comparingLong(TensorEntry::offset).thenComparingLong(TensorEntry::bytes));
            long covered = 0;
            String last = "the header";
            for (TensorEntry entry : entries) {
                long begin = entry.offset() - dataStart;
                if (begin < covered) {
                    throw bad(entry.name(), "its data overlap those of " + last);
                }
                if (begin > covered) {
                    throw bad(entry.name(), (begin - covered) + " bytes of no tensor lie between its data and " + last);
                }
                covered = begin + entry.bytes();
                last = entry.name();
            }
            if (covered < dataBytes) {
                throw new MalformedFileException(
                        file, (dataBytes - covered) + " bytes of no tensor follow the data of " + last);
            }
        }

        private MalformedFileException bad(String tensor, String problem) {
            return new MalformedFileException(file, "tensor " + tensor + ": " + problem);
        }
    }
}
