package io.qlora.engine.safetensors;

import static io.qlora.engine.safetensors.TestFiles.entry;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsFileTest {

    @TempDir
    Path directory;

    private final CpuDevice device = new CpuDevice(1);

    @AfterEach
    void close() {
        device.close();
    }

    private Path file(String header, int data) throws IOException {
        return TestFiles.write(directory.resolve("x.safetensors"), header, data);
    }

    @Test
    void entriesComeInTheFilesOrderWithOffsetsIntoTheFile() throws IOException {
        String header = "{" + entry("late", "U8", "[3]", 4, 7) + ",\"__metadata__\":{\"format\":\"pt\"},"
                + entry("early", "F32", "[]", 0, 4) + "," + entry("none", "F16", "[0, 5]", 4, 4) + "}  ";
        try (SafetensorsFile file = SafetensorsFile.open(file(header, 7))) {
            int start = 8 + header.length();
            assertEquals(Map.of("format", "pt"), file.metadata());
            assertEquals(
                    List.of(
                            new TensorEntry("late", "U8", Shape.of(3), start + 4, 3),
                            new TensorEntry("early", "F32", Shape.of(), start, 4),
                            new TensorEntry("none", "F16", Shape.of(0, 5), start + 4, 0)),
                    List.copyOf(file.entries()));
            assertTrue(file.contains("late"));
            assertFalse(file.contains("__metadata__"));
        }
    }

    @Test
    void emptyHeaderIsAFileWithoutTensors() throws IOException {
        try (SafetensorsFile file = SafetensorsFile.open(file("{}", 0))) {
            assertTrue(file.entries().isEmpty());
            assertTrue(file.metadata().isEmpty());
        }
    }

    @Test
    void scalarsAndEmptyTensorsAreMapped() throws IOException {
        String header = "{" + entry("s", "I32", "[]", 0, 4) + "," + entry("e", "F32", "[0, 4]", 4, 4) + "}";
        try (SafetensorsFile file = SafetensorsFile.open(file(header, 4));
                MappedTensor scalar = file.map("s", device);
                MappedTensor empty = file.map("e", device)) {
            assertArrayEquals(new int[] {0x03020100}, scalar.tensor().toInts());
            assertEquals(Shape.of(0, 4), empty.tensor().shape());
            assertEquals(0, empty.tensor().toFloats().length);
        }
    }

    @Test
    void mapsWhereverItsDataBegin() throws IOException {
        for (int before = 1; before < 9; before++) {
            String header = "{" + entry("p", "U8", "[" + before + "]", 0, before) + ","
                    + entry("x", "U8", "[5]", before, before + 5) + "}";
            try (SafetensorsFile file = SafetensorsFile.open(file(header, before + 5));
                    MappedTensor x = file.map("x", device)) {
                byte[] bytes = x.tensor().segment().toArray(ValueLayout.JAVA_BYTE);
                byte b = (byte) before;
                byte[] expected = {b, (byte) (b + 1), (byte) (b + 2), (byte) (b + 3), (byte) (b + 4)};
                assertArrayEquals(expected, bytes);
                assertArrayEquals(expected, file.readBytes("x"));
            }
        }
    }

    @Test
    void floatsAreWidenedFromEveryFloatType() throws IOException {
        String header = "{" + entry("f32", "F32", "[1]", 0, 4) + "," + entry("f16", "F16", "[1]", 4, 6) + ","
                + entry("bf16", "BF16", "[1]", 6, 8) + "}";
        Path path = file(header, 8);
        byte[] bytes = Files.readAllBytes(path);
        byte[] data = {0, 0, (byte) 0xc0, 0x3f, 0, 0x3e, (byte) 0xc0, 0x3f}; // 1.5 three times
        System.arraycopy(data, 0, bytes, bytes.length - 8, 8);
        Files.write(path, bytes);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            for (String name : List.of("f32", "f16", "bf16")) {
                assertArrayEquals(new float[] {1.5f}, file.readFloats(name), name);
            }
        }
    }

    @Test
    void typesThatNoTensorCanHaveAreListedButNotMapped() throws IOException {
        String header = "{" + entry("ids", "I64", "[1]", 0, 8) + "," + entry("odd", "Q3_K", "[7]", 8, 11) + "}";
        Path path = file(header, 11);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals(Optional.empty(), file.entry("odd").tensorType());
            assertEquals("Q3_K [7]", file.entry("odd").toString());
            assertEquals(3, file.readBytes("odd").length);
            assertEquals(2, file.readBytes("odd", 2).length);
            assertEquals(3, file.readBytes("odd", 4).length);
            IOException e = assertThrows(MalformedFileException.class, () -> file.map("ids", device));
            assertEquals(
                    path + ": tensor ids: its type should be one of F32, F16, BF16, I32, U8, found I64 [1]",
                    e.getMessage());
        }
    }

    @Test
    void askingForATensorThatIsNotThereNamesIt() throws IOException {
        Path path = file("{" + entry("b", "U8", "[1]", 0, 1) + "}", 1);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            IOException missing = assertThrows(MalformedFileException.class, () -> file.map("a", device));
            assertEquals(path + ": expected a tensor a, found none of this name", missing.getMessage());
            IOException bytes = assertThrows(MalformedFileException.class, () -> file.readFloats("b"));
            assertEquals(path + ": tensor b: its type should be F32, F16 or BF16, found U8 [1]", bytes.getMessage());
        }
    }

    @Test
    void mappedTensorOutlivesItsFile() throws IOException {
        SafetensorsFile file = SafetensorsFile.open(file("{" + entry("x", "U8", "[2]", 0, 2) + "}", 2));
        try (MappedTensor x = file.map("x", device)) {
            file.close();
            assertArrayEquals(new byte[] {0, 1}, x.tensor().segment().toArray(ValueLayout.JAVA_BYTE));
        }
    }

    @Test
    void threadThatIsInterruptedFailsAlone() throws Exception {
        Path path = file("{" + entry("x", "U8", "[2]", 0, 2) + "}", 2);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            Thread interrupted = new Thread(() -> {
                Thread.currentThread().interrupt();
                IOException e = assertThrows(IOException.class, () -> file.map("x", device));
                message = e.getMessage();
            });
            interrupted.start();
            interrupted.join();
            assertEquals(path + ": cannot be read: the thread was interrupted", message);
            assertArrayEquals(new byte[] {0, 1}, file.readBytes("x"));
        }
    }

    private volatile String message;

    @Test
    void fileThatWasReplacedBeforeItIsOpenedAgainIsRefused() throws IOException {
        Path path = file("{" + entry("x", "U8", "[2]", 0, 2) + "}", 2);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            Thread.currentThread().interrupt();
            assertThrows(IOException.class, () -> file.readBytes("x"));
            assertTrue(Thread.interrupted());
            file("{" + entry("x", "U8", "[1]", 0, 1) + "}", 1);
            IOException e = assertThrows(MalformedFileException.class, () -> file.readBytes("x"));
            assertEquals(path + ": the file was replaced by another while it was read", e.getMessage());
        }
    }

    @Test
    void closedFileSaysSo() throws IOException {
        Path path = file("{" + entry("x", "U8", "[2]", 0, 2) + "}", 2);
        SafetensorsFile file = SafetensorsFile.open(path);
        file.close();
        IOException e = assertThrows(IOException.class, () -> file.readBytes("x"));
        assertEquals(path + ": cannot be read: it has been closed", e.getMessage());
    }

    @Test
    void interruptWhileAFileIsOpenedIsSaid() throws IOException {
        Path path = file("{" + entry("x", "U8", "[2]", 0, 2) + "}", 2);
        Thread.currentThread().interrupt();
        IOException e = assertThrows(IOException.class, () -> SafetensorsFile.open(path));
        assertTrue(Thread.interrupted());
        assertEquals(path + ": cannot be read: the thread was interrupted", e.getMessage());
    }

    @Test
    void tensorsBeyondTwoGigabytesAreMapped() throws IOException {
        long large = 2_500_000_000L;
        byte[] header = ("{" + entry("large", "U8", "[" + large + "]", 0, large) + ","
                        + entry("x", "F32", "[1]", large, large + 4) + "}")
                .getBytes(StandardCharsets.UTF_8);
        Path path = TestFiles.write(directory.resolve("x.safetensors"), header.length, header, 0);
        try (RandomAccessFile sparse = new RandomAccessFile(path.toFile(), "rw")) {
            sparse.seek(8 + header.length + large);
            sparse.write(new byte[] {0, 0, (byte) 0xc0, 0x3f});
        }
        try (SafetensorsFile file = SafetensorsFile.open(path);
                MappedTensor all = file.map("large", device)) {
            assertArrayEquals(new float[] {1.5f}, file.readFloats("x"));
            Tensor tensor = all.tensor();
            assertEquals(DType.U8, tensor.dtype());
            assertEquals(0, tensor.segment().get(ValueLayout.JAVA_BYTE, large - 1));
            assertThrows(MalformedFileException.class, () -> file.readBytes("large"));
        }
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void closingAMappedTensorUnmapsIt() throws IOException {
        Path path = file("{" + entry("x", "U8", "[100000]", 0, 100_000) + "}", 100_000);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            MappedTensor x = file.map("x", device);
            assertTrue(isMapped(path));
            x.close();
            assertFalse(isMapped(path));
            assertThrows(IllegalStateException.class, () -> x.tensor().segment().get(ValueLayout.JAVA_BYTE, 0));
        }
    }

    private static boolean isMapped(Path path) throws IOException {
        String name = path.toRealPath().toString();
        return Files.readString(Path.of("/proc/self/maps")).contains(name);
    }
}
