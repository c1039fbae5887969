package io.qlora.engine.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {

    /** What {@code safetensors.serialize} of Python's safetensors 0.8.0 makes of the tensors below. */
    private static final String REFERENCE_HEADER = "{\"__metadata__\":{\"format\":\"pt\"},"
            + "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[0,0]},"
            + "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
            + "\"\u00fc\\\"name\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]},"
            + "\"ids\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[12,24]},"
            + "\"c.bf16\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[24,28]},"
            + "\"b.half\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[28,40]},"
            + "\"a.bytes\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[40,45]}}       ";

    private static final String REFERENCE_DATA = "0000e040" + "0000c03f000000c0" + "01000000feffffff03000000"
            + "803f00c0" + "0000003c0040004200440045" + "0001020304";

    @TempDir
    Path directory;

    private final CpuDevice device = new CpuDevice(1);
    private final ModelMemory memory = new ModelMemory(device);

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    private Tensor raw(DType dtype, String hex, long... dims) {
        Tensor tensor = memory.empty(dtype, dims);
        MemorySegment.copy(
                MemorySegment.ofArray(HexFormat.of().parseHex(hex)), 0, tensor.segment(), 0, tensor.byteSize());
        return tensor;
    }

    private List<Path> files() throws IOException {
        try (Stream<Path> list = Files.list(directory)) {
            return list.toList();
        }
    }

    @Test
    void writesTheBytesOfTheReferenceImplementation() throws IOException {
        Path path = directory.resolve("x.safetensors");
        new SafetensorsWriter()
                .metadata("format", "pt")
                .add("b.half", raw(DType.F16, "0000003c0040004200440045", 2, 3))
                .add("a.bytes", raw(DType.U8, "0001020304", 5))
                .add("\u00fc\"name", memory.empty(DType.F32, 2).set(1.5f, -2f))
                .add("scalar", memory.empty(DType.F32).set(7f))
                .add("empty", memory.empty(DType.F32, 0, 4))
                .add("ids", memory.empty(DType.I32, 3).set(1, -2, 3))
                .add("c.bf16", raw(DType.BF16, "803f00c0", 2))
                .write(path);
        byte[] header = REFERENCE_HEADER.getBytes(StandardCharsets.UTF_8);
        byte[] data = HexFormat.of().parseHex(REFERENCE_DATA);
        ByteBuffer expected = ByteBuffer.allocate(8 + header.length + data.length);
        expected.putLong(Long.reverseBytes(header.length)).put(header).put(data);
        assertArrayEquals(expected.array(), Files.readAllBytes(path));
        assertEquals(List.of(path), files());
    }

    @Test
    void whatIsWrittenIsReadBack() throws IOException {
        Path path = directory.resolve("x.safetensors");
        float[] values = {1, Float.NaN, -0f, Float.MIN_VALUE};
        new SafetensorsWriter()
                .add("x", memory.empty(DType.F32, 2, 2).set(values))
                .metadata("step", "7")
                .write(path);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals("7", file.metadata().get("step"));
            assertArrayEquals(values, file.readFloats("x"));
            assertEquals(Shape.of(2, 2), file.entry("x").shape());
        }
    }

    @Test
    void tensorsAreAskedForOneByOneInTheFilesOrder() throws IOException {
        Path path = directory.resolve("x.safetensors");
        Tensor only = memory.empty(DType.F32, 1);
        new SafetensorsWriter()
                .add("b", DType.F32, Shape.of(1), () -> only.set(only.item() + 1))
                .add("a", DType.F32, Shape.of(1), () -> only.set(41f))
                .write(path);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertArrayEquals(new float[] {41}, file.readFloats("a"));
            assertArrayEquals(new float[] {42}, file.readFloats("b"));
        }
    }

    @Test
    void failureHalfwayLeavesTheEarlierFileAndNothingElse() throws IOException {
        Path path = Files.writeString(directory.resolve("x.safetensors"), "earlier");
        Tensor first = memory.zeros(DType.F32, 1000);
        SafetensorsWriter writer = new SafetensorsWriter().add("a", first).add("b", DType.F32, Shape.of(1), () -> {
            throw new IOException("No space left on device");
        });
        IOException e = assertThrows(IOException.class, () -> writer.write(path));
        assertEquals(
                path + ": cannot be written, and what was there before is untouched: No space left on device",
                e.getMessage());
        assertEquals("earlier", Files.readString(path));
        assertEquals(List.of(path), files());
    }

    @Test
    void tensorOtherThanAnnouncedIsRefused() {
        Tensor tensor = memory.zeros(DType.F32, 3);
        SafetensorsWriter writer = new SafetensorsWriter().add("a", DType.F32, Shape.of(4), () -> tensor);
        assertThrows(IllegalArgumentException.class, () -> writer.write(directory.resolve("x.safetensors")));
        assertThrows(IllegalArgumentException.class, () -> writer.add("a", tensor));
    }
}
