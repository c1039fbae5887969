package io.qlora.engine.safetensors;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.HostBuffer;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Writes a safetensors file, byte for byte as the reference implementation lays it out: the widest types first, then by
 * name; header compact, in that order, padded with spaces to eight bytes. Tensors are asked for one at a time when their
 * turn comes. The file is written beside its place and renamed ({@link AtomicFiles}).
 */
public final class SafetensorsWriter {

    private static final JsonMapper COMPACT = new JsonMapper();
    private static final int ALIGNMENT = 8;
    private static final long PIECE = 64L << 20; // written at once, so that no buffer exceeds what an int counts

    /** Where a tensor comes from when it is to be written. */
    @FunctionalInterface
    public interface Source {

        /** The tensor; asked once. Its memory is used until the next is asked for, or the file is finished. */
        Tensor get() throws IOException;
    }

    // The name's bytes are what the reference implementation compares.
    private record Item(String name, byte[] utf8, DType dtype, Shape shape, Source source) {
        long bytes() {
            return Math.multiplyExact(shape.size(), dtype.bytes());
        }
    }

    private static final Comparator<Item> LAYOUT = Comparator.comparing((Item item) -> Dtypes.of(item.dtype))
            .reversed()
            .thenComparing(Item::utf8, Arrays::compareUnsigned);

    private final Map<String, String> metadata = new TreeMap<>();
    private final List<Item> items = new ArrayList<>();
    private final Set<String> names = new HashSet<>();

    /** A file without tensors, as yet. */
    public SafetensorsWriter() {}

    /** Adds a remark of the file, such as {@code format} = {@code pt}. */
    public SafetensorsWriter metadata(String key, String value) {
        metadata.put(key, value);
        return this;
    }

    /** Adds a tensor. */
    public SafetensorsWriter add(String name, Tensor tensor) {
        return add(name, tensor.dtype(), tensor.shape(), () -> tensor);
    }

    /**
     * Adds a tensor that is made when it is written.
     *
     * @throws IllegalArgumentException if the name is taken
     */
    public SafetensorsWriter add(String name, DType dtype, Shape shape, Source source) {
        if (name.equals(Header.METADATA) || !names.add(name)) {
            throw new IllegalArgumentException("a tensor's name should be given once, found " + name + " again");
        }
        items.add(new Item(name, name.getBytes(StandardCharsets.UTF_8), dtype, shape, source));
        return this;
    }

    /**
     * Writes the file.
     *
     * @throws IOException in a sentence that names the file; what was there before is then untouched
     */
    public void write(Path file) throws IOException {
        List<Item> sorted = items.stream().sorted(LAYOUT).toList();
        byte[] header = header(sorted);
        AtomicFiles.write(file, channel -> {
            ByteBuffer prefix = ByteBuffer.allocate(Header.PREFIX).order(ByteOrder.LITTLE_ENDIAN);
            AtomicFiles.writeFully(channel, prefix.putLong(header.length).flip());
            AtomicFiles.writeFully(channel, ByteBuffer.wrap(header));
            for (Item item : sorted) {
                write(item, channel);
            }
        });
    }

    private byte[] header(List<Item> sorted) throws IOException {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        if (!metadata.isEmpty()) {
            ObjectNode remarks = json.putObject(Header.METADATA);
            metadata.forEach(remarks::put);
        }
        long offset = 0;
        for (Item item : sorted) {
            ObjectNode entry = json.putObject(item.name).put("dtype", item.dtype.name());
            Arrays.stream(item.shape.dims()).forEach(entry.putArray("shape")::add);
            entry.putArray("data_offsets").add(offset).add(offset + item.bytes());
            offset += item.bytes();
        }
        byte[] text = COMPACT.writeValueAsBytes(json);
        byte[] padded = Arrays.copyOf(text, (text.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        Arrays.fill(padded, text.length, padded.length, (byte) ' ');
        return padded;
    }

    private static void write(Item item, FileChannel channel) throws IOException {
        Tensor tensor = item.source.get();
        Shapes.require(tensor, item.dtype, item.shape, "SafetensorsWriter", item.name);
        if (tensor.buffer() instanceof HostBuffer host) {
            write(host.segment(), channel);
            return;
        }
        try (Arena arena = Arena.ofShared()) {
            MemorySegment copy = arena.allocate(tensor.byteSize());
            tensor.device().read(tensor, copy);
            write(copy, channel);
        }
    }

    private static void write(MemorySegment bytes, FileChannel channel) throws IOException {
        for (long offset = 0; offset < bytes.byteSize(); offset += PIECE) {
            MemorySegment piece = bytes.asSlice(offset, Math.min(PIECE, bytes.byteSize() - offset));
            AtomicFiles.writeFully(channel, piece.asByteBuffer());
        }
    }
}
