package io.qlora.engine.safetensors;

import static io.qlora.engine.safetensors.TestFiles.entry;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Headers that lie: each is refused when the file is opened, in one sentence. */
class MalformedSafetensorsTest {

    @TempDir
    Path directory;

    private void assertRefused(Path file, String problem) {
        IOException e = assertThrows(
                MalformedFileException.class, () -> SafetensorsFile.open(file).close());
        assertEquals(file + ": " + problem, e.getMessage());
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("headers")
    void isRefused(String what, String header, int data, String problem) throws IOException {
        assertRefused(TestFiles.write(directory.resolve("x.safetensors"), header, data), problem);
    }

    static Stream<Arguments> headers() {
        String a = entry("a", "F32", "[2]", 0, 8);
        return Stream.of(
                Arguments.of(
                        "no JSON",
                        "{\"a\":",
                        0,
                        "the header should be JSON: Unexpected end-of-input within/between Object"
                                + " entries at line 1, column 6"),
                Arguments.of("a list", "[1, 2]", 0, "the header should start with '{': is this a safetensors file?"),
                Arguments.of(
                        "leading space", " {}", 0, "the header should start with '{': is this a safetensors file?"),
                Arguments.of(
                        "more behind the object",
                        "{} {}",
                        0,
                        "the header should end with its object, found more at line 1, column 4"),
                Arguments.of(
                        "a tensor twice",
                        "{" + a + "," + a + "}",
                        8,
                        "the header should be JSON: Duplicate field 'a' at line 1, column 58"),
                Arguments.of(
                        "a field twice",
                        "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\"}}",
                        8,
                        "the header should be JSON: Duplicate field 'dtype' at line 1, column 28"),
                Arguments.of(
                        "metadata of numbers",
                        "{\"__metadata__\":{\"n\":1}}",
                        0,
                        "__metadata__: n should be a string, found 1"),
                Arguments.of(
                        "metadata of no object",
                        "{\"__metadata__\":[]}",
                        0,
                        "__metadata__ should be an object of strings, found []"),
                Arguments.of(
                        "an entry that is none", "{\"a\":7}", 0, "tensor a: dtype should be a string, found nothing"),
                Arguments.of(
                        "a dtype that is none",
                        "{\"a\":{\"dtype\":32}}",
                        0,
                        "tensor a: dtype should be a string, found 32"),
                Arguments.of(
                        "no shape",
                        "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}",
                        8,
                        "tensor a: shape should be a list of whole numbers from 0 to 2⁶³ − 1, found nothing"),
                Arguments.of(
                        "a negative extent",
                        "{" + entry("a", "F32", "[-2]", 0, 8) + "}",
                        8,
                        "tensor a: shape should be a list of whole numbers from 0 to 2⁶³ − 1, found [-2]"),
                Arguments.of(
                        "an extent of 1.5",
                        "{" + entry("a", "F32", "[1.5]", 0, 8) + "}",
                        8,
                        "tensor a: shape should be a list of whole numbers from 0 to 2⁶³ − 1, found [1.5]"),
                Arguments.of(
                        "an extent past a long",
                        "{" + entry("a", "F32", "[9223372036854775808]", 0, 8) + "}",
                        8,
                        "tensor a: shape should be a list of whole numbers from 0 to 2⁶³ − 1, found"
                                + " [9223372036854775808]"),
                Arguments.of(
                        "a product past a long",
                        "{" + entry("a", "F32", "[4294967296,4294967296]", 0, 8) + "}",
                        8,
                        "tensor a: shape [4294967296,4294967296] has more elements than any file can hold"),
                Arguments.of(
                        "bytes past a long",
                        "{" + entry("a", "F32", "[4611686018427387904]", 0, 0) + "}",
                        0,
                        "tensor a: F32 [4611686018427387904] should have 18446744073709551616 bytes, found 0"),
                Arguments.of(
                        "three offsets",
                        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4,8]}}",
                        8,
                        "tensor a: data_offsets should be [begin, end], found [0,4,8]"),
                Arguments.of(
                        "an offset below zero",
                        "{" + entry("a", "F32", "[2]", -8, 0) + "}",
                        8,
                        "tensor a: data_offsets should be a list of whole numbers from 0 to 2⁶³ − 1, found [-8,0]"),
                Arguments.of(
                        "an end before the beginning",
                        "{" + entry("a", "F32", "[2]", 8, 0) + "}",
                        8,
                        "tensor a: data_offsets should not end before they begin, found [8,0]"),
                Arguments.of(
                        "an end past the file",
                        "{" + a + "}",
                        7,
                        "tensor a: its bytes 0 to 8 lie beyond the file's 7"
                                + " bytes of data: the file is truncated, get it again"),
                Arguments.of(
                        "an end far past any file",
                        "{" + entry("a", "F32", "[2]", 0, Long.MAX_VALUE) + "}",
                        8,
                        "tensor a: its bytes 0 to 9223372036854775807 lie beyond the file's 8 bytes of data: the file is"
                                + " truncated, get it again"),
                Arguments.of(
                        "a size that is not the shape's",
                        "{" + entry("a", "F16", "[2]", 0, 8) + "}",
                        8,
                        "tensor a: F16 [2] should have 4 bytes, found 8"),
                Arguments.of(
                        "half a byte",
                        "{" + entry("a", "F4", "[3]", 0, 1) + "}",
                        1,
                        "tensor a: F4 [3] should have 2 bytes, found 1"),
                Arguments.of(
                        "an overlap",
                        "{" + a + "," + entry("b", "F32", "[2]", 4, 12) + "}",
                        12,
                        "tensor b: its data overlap those of a"),
                Arguments.of(
                        "two tensors in one place",
                        "{" + a + "," + entry("b", "F32", "[2]", 0, 8) + "}",
                        8,
                        "tensor b: its data overlap those of a"),
                Arguments.of(
                        "a hole in front",
                        "{" + entry("a", "U8", "[2]", 4, 6) + "}",
                        6,
                        "tensor a: 4 bytes of no tensor lie between its data and the header"),
                Arguments.of(
                        "a hole within",
                        "{" + entry("b", "U8", "[1]", 9, 10) + "," + a + "}",
                        10,
                        "tensor b: 1 bytes of no tensor lie between its data and a"),
                Arguments.of("a rest behind", "{" + a + "}", 9, "1 bytes of no tensor follow the data of a"));
    }

    @Test
    void fileTooShortForALength() throws IOException {
        Path file = Files.write(directory.resolve("x.safetensors"), new byte[7]);
        assertRefused(file, "expected a safetensors file, found only 7 bytes: is it complete?");
    }

    @Test
    void headerPastTheEndOfTheFile() throws IOException {
        Path file = TestFiles.write(directory.resolve("x.safetensors"), 1000, "{}".getBytes(StandardCharsets.UTF_8), 5);
        assertRefused(
                file, "the header should have 1000 bytes, but the file ends after 7: it is truncated, get it again");
    }

    @Test
    void absurdHeaderLengthsAllocateNothing() throws IOException {
        for (long length : new long[] {0, 1, 100_000_001, Long.MAX_VALUE, -1, Long.MIN_VALUE}) {
            Path file = TestFiles.write(directory.resolve("x.safetensors"), length, new byte[0], 100);
            assertRefused(
                    file,
                    "the header's length should be 2 to 100000000 bytes, found " + Long.toUnsignedString(length)
                            + ": is this a safetensors file?");
        }
    }

    @Test
    void headerThatIsNotUtf8() throws IOException {
        byte[] header = "{\"\u00e9\":1}".getBytes(StandardCharsets.ISO_8859_1);
        Path file = TestFiles.write(directory.resolve("x.safetensors"), header.length, header, 0);
        assertRefused(file, "the header should be JSON in UTF-8, found bytes that are not UTF-8");
    }

    @Test
    void headerNestedTooDeeplyToParse() throws IOException {
        Path file = TestFiles.write(directory.resolve("x.safetensors"), "{\"a\":" + "[".repeat(100_000), 0);
        assertThrows(
                MalformedFileException.class, () -> SafetensorsFile.open(file).close());
    }

    @Test
    void missingFilesAndDirectoriesAreNamed() {
        Path missing = directory.resolve("none.safetensors");
        IOException none = assertThrows(IOException.class, () -> SafetensorsFile.open(missing));
        assertEquals(missing + ": no such file", none.getMessage());
        IOException folder = assertThrows(IOException.class, () -> SafetensorsFile.open(directory));
        assertEquals(directory + ": expected a file, found a directory", folder.getMessage());
    }
}
