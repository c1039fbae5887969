package io.qlora.engine.safetensors;

import io.qlora.engine.files.FileErrors;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.HostBuffer;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collection;
import java.util.Map;

/**
 * A safetensors file, its header checked, its tensors mapped one by one. Safe for use by several threads, one of which may
 * be interrupted: it fails alone. A {@link MappedTensor} outlives the file's closing.
 */
public final class SafetensorsFile implements AutoCloseable {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

    private final Path path;
    private final Header header;
    private volatile FileChannel channel; // another one after an interrupt, which closes it for all threads
    private volatile boolean closed;

    private SafetensorsFile(Path path, FileChannel channel, Header header) {
        this.path = path;
        this.channel = channel;
        this.header = header;
    }

    /**
     * Opens a file and checks its header.
     *
     * @throws MalformedFileException naming file and tensor, when the header is not one, or does not agree with the file
     * @throws IOException in a sentence that names the file, if it cannot be read
     */
    public static SafetensorsFile open(Path path) throws IOException {
        FileErrors.requireFile(path);
        try {
            FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
            try {
                return new SafetensorsFile(path, channel, Header.read(path, channel));
            } catch (IOException | RuntimeException e) {
                channel.close();
                throw e;
            }
        } catch (MalformedFileException e) {
            throw e;
        } catch (IOException e) {
            throw FileErrors.reading(path, e);
        }
    }

    /** The path it was opened by. */
    public Path path() {
        return path;
    }

    /** The file's own remarks, such as {@code format}; empty when it has none. */
    public Map<String, String> metadata() {
        return header.metadata();
    }

    /** The tensors, as listed in the file. */
    public Collection<TensorEntry> entries() {
        return header.entries().values();
    }

    /** Whether the file has a tensor of this name. */
    public boolean contains(String name) {
        return header.entries().containsKey(name);
    }

    /**
     * A tensor's description.
     *
     * @throws MalformedFileException if there is none of this name
     */
    public TensorEntry entry(String name) throws MalformedFileException {
        TensorEntry entry = header.entries().get(name);
        if (entry == null) {
            throw new MalformedFileException(path, "expected a tensor " + name + ", found none of this name");
        }
        return entry;
    }

    /**
     * Maps a tensor's bytes, and no others.
     *
     * @param device what the tensor is for; its memory is the file, whatever this device computes in
     * @throws MalformedFileException if there is none of this name, or its type is not one a tensor can have
     */
    public MappedTensor map(String name, Device device) throws IOException {
        TensorEntry entry = entry(name);
        DType dtype = typeOf(entry);
        Arena arena = Arena.ofShared();
        try {
            Tensor tensor = new Tensor(dtype, entry.shape(), new HostBuffer(segment(entry, arena)), device);
            return new MappedTensor(tensor, arena);
        } catch (IOException | RuntimeException e) {
            arena.close();
            throw e;
        }
    }

    /**
     * A floating-point tensor's elements, widened to float32 and copied to the heap: for small ones.
     *
     * @throws MalformedFileException if there is none of this name, or it is not of a floating-point type
     */
    public float[] readFloats(String name) throws IOException {
        TensorEntry entry = entry(name);
        DType dtype = entry.tensorType().filter(DType::isFloat).orElseThrow(() -> bad(entry, "F32, F16 or BF16"));
        float[] values = new float[requireArray(entry, entry.shape().size())];
        try (Arena arena = Arena.ofConfined()) {
            widen(dtype, segment(entry, arena), values);
        }
        return values;
    }

    private static void widen(DType dtype, MemorySegment elements, float[] values) {
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (dtype) {
                case F32 -> elements.getAtIndex(FLOAT, i);
                case F16 -> Float.float16ToFloat(elements.getAtIndex(SHORT, i));
                case BF16 -> Float.intBitsToFloat(elements.getAtIndex(SHORT, i) << 16);
                case I32, U8 -> throw new IllegalArgumentException(dtype + " is not floating-point");
            };
        }
    }

    /**
     * A tensor's bytes, whatever its type, copied to the heap: for small ones.
     *
     * @throws MalformedFileException if there is none of this name
     */
    public byte[] readBytes(String name) throws IOException {
        TensorEntry entry = entry(name);
        return readBytes(name, requireArray(entry, entry.bytes()));
    }

    /**
     * The first of a tensor's bytes, or all where there are fewer, whatever its type, copied to the heap.
     *
     * @throws MalformedFileException if there is none of this name
     */
    public byte[] readBytes(String name, int most) throws IOException {
        TensorEntry entry = entry(name);
        try (Arena arena = Arena.ofConfined()) {
            return segment(entry, Math.min(most, entry.bytes()), arena).toArray(ValueLayout.JAVA_BYTE);
        }
    }

    // Within the file as its header was checked; the system refuses what it has lost since.
    private MemorySegment segment(TensorEntry entry, Arena arena) throws IOException {
        return segment(entry, entry.bytes(), arena);
    }

    private MemorySegment segment(TensorEntry entry, long bytes, Arena arena) throws IOException {
        if (bytes == 0) {
            return arena.allocate(0);
        }
        while (true) {
            FileChannel open = channel;
            try {
                return open.map(FileChannel.MapMode.READ_ONLY, entry.offset(), bytes, arena);
            } catch (ClosedByInterruptException e) {
                throw FileErrors.reading(path, e);
            } catch (ClosedChannelException e) {
                reopen(open, e);
            } catch (IOException e) {
                throw FileErrors.reading(path, e);
            }
        }
    }

    /** Another channel in place of {@code lost}, which another thread's interrupt has closed. */
    private synchronized void reopen(FileChannel lost, ClosedChannelException why) throws IOException {
        if (closed) {
            throw FileErrors.reading(path, why);
        }
        if (channel != lost) {
            return;
        }
        SafetensorsFile again = open(path);
        if (!again.header.equals(header)) {
            again.close();
            throw new MalformedFileException(path, "the file was replaced by another while it was read");
        }
        channel = again.channel;
    }

    private DType typeOf(TensorEntry entry) throws MalformedFileException {
        return entry.tensorType().orElseThrow(() -> bad(entry, "one of F32, F16, BF16, I32, U8"));
    }

    private int requireArray(TensorEntry entry, long length) throws MalformedFileException {
        if (length > Integer.MAX_VALUE - 8) {
            throw new MalformedFileException(
                    path, "tensor " + entry.name() + ": expected a small tensor, found " + entry);
        }
        return (int) length;
    }

    private MalformedFileException bad(TensorEntry entry, String expected) {
        return new MalformedFileException(
                path, "tensor " + entry.name() + ": its type should be " + expected + ", found " + entry);
    }

    @Override
    public synchronized void close() throws IOException {
        closed = true;
        channel.close();
    }
}
