package io.qlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DataSetTest {

    /** A character is its own id. */
    private static final Encoding CHARACTERS = new Encoding() {
        @Override
        public int[] encode(String text) {
            return text.chars().toArray();
        }

        @Override
        public int bos() {
            return 1;
        }

        @Override
        public int eos() {
            return 2;
        }
    };

    @TempDir
    Path folder;

    private Path file(String name, String content) throws IOException {
        return Files.writeString(folder.resolve(name), content);
    }

    private DataSet read(Path file, int maxLength) throws IOException {
        return DataSet.read(List.of(file), CHARACTERS, maxLength, true);
    }

    @Test
    void aCompletionAloneIsLearntWithItsEnd() throws IOException {
        DataSet data = read(file("a.jsonl", "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n"), 100);
        Document document = data.documents().getFirst();
        assertArrayEquals(new int[] {1, 'a', 'b', 'c', 'd', 2}, document.ids());
        assertArrayEquals(new boolean[] {false, false, false, true, true, true}, document.targets());
    }

    @Test
    void anEndThatIsThereAlreadyIsNotDoubled() throws IOException {
        Path file = file(
                "a.jsonl",
                "{\"text\": \"ab\\u0002\"}\n{\"prompt\": \"a\", \"completion\": \"b\\u0002\"}\n{\"prompt\": \"ab\\u0002\", \"completion\": \"\"}\n");
        List<Document> documents = read(file, 100).documents();
        assertArrayEquals(new int[] {1, 'a', 'b', 2}, documents.get(0).ids());
        assertArrayEquals(new int[] {1, 'a', 'b', 2}, documents.get(1).ids());
        assertArrayEquals(new int[] {1, 'a', 'b', 2, 2}, documents.get(2).ids());
        assertEquals(1, documents.get(2).targetCount());
    }

    @Test
    void promptsAreLearntTooWhenAskedFor() throws IOException {
        Path file = file("a.jsonl", "{\"prompt\": \"ab\", \"completion\": \"cd\"}\n");
        Document document =
                DataSet.read(List.of(file), CHARACTERS, 100, false).documents().getFirst();
        assertEquals(5, document.targetCount());
    }

    @Test
    void allOfATextIsLearntButItsBeginning() throws IOException {
        Document document =
                read(file("a.jsonl", "{\"text\": \"abc\"}"), 100).documents().getFirst();
        assertArrayEquals(new int[] {1, 'a', 'b', 'c', 2}, document.ids());
        assertEquals(4, document.targetCount());
    }

    @Test
    void anInstructionBecomesTheDocumentedPrompt() throws IOException {
        Path file = file(
                "a.json",
                "[{\"instruction\": \"Do\", \"input\": \"it\", \"output\": \"!\"}, {\"instruction\": \"Do\", \"output\": \"!\"},"
                        + " {\"instruction\": \"Do\", \"input\": \"\", \"output\": \"!\"}]");
        List<Row> rows = new ArrayList<>();
        DataFile.visit(file, rows::add);
        assertEquals(
                new Row.Completion("### Instruction:\nDo\n\n### Input:\nit\n\n### Response:\n", "!"),
                rows.get(0).content());
        assertEquals(
                new Row.Completion("### Instruction:\nDo\n\n### Response:\n", "!"),
                rows.get(1).content());
        assertEquals(rows.get(1).content(), rows.get(2).content());
    }

    @Test
    void anInstructionWithASystemPromptOrAHistoryIsRefused() throws IOException {
        String record = "{\"instruction\": \"Do\", \"output\": \"!\", \"system\": %s, \"history\": %s}";
        for (String nothing : new String[] {"null", "\"\"", "[]"}) {
            assertEquals(
                    1,
                    read(file("a.jsonl", record.formatted(nothing, nothing)), 100)
                            .size());
        }
        Path system = file("a.jsonl", record.formatted("\"You are X\"", "[]"));
        DataException e = assertThrows(DataException.class, () -> DataFile.visit(system, row -> {}));
        assertTrue(e.getMessage().contains("line 1: \"system\" is not supported, found \"You are X\""), e.getMessage());
        Path history = file("b.jsonl", record.formatted("null", "[[\"q\", \"a\"]]"));
        e = assertThrows(DataException.class, () -> DataFile.visit(history, row -> {}));
        assertTrue(e.getMessage().contains("\"history\" is not supported, found [[\"q\",\"a\"]]"), e.getMessage());
    }

    @Test
    void longDocumentsAreCutAndCountedAndThoseWithoutTargetsAreNamed() throws IOException {
        Path file = file(
                "a.jsonl",
                "{\"prompt\": \"ab\", \"completion\": \"cdefgh\"}\n\n{\"prompt\": \"abcdefgh\", \"completion\": \"i\"}\n");
        DataSet data = read(file, 6);
        assertEquals(1, data.size());
        assertEquals(2, data.cut());
        assertArrayEquals(
                new int[] {1, 'a', 'b', 'c', 'd', 'e'},
                data.documents().getFirst().ids());
        assertEquals(List.of(file + ", line 3"), data.dropped());
    }

    @Test
    void aTextFileIsDividedAndNothingIsLost() throws IOException {
        String text = "abcdefghij";
        DataSet data = read(file("a.txt", text), 5);
        assertEquals(0, data.cut());
        int[] joined = data.documents().stream()
                .flatMapToInt(document -> IntStream.of(document.ids()).skip(1))
                .toArray();
        assertArrayEquals(IntStream.concat(text.chars(), IntStream.of(2)).toArray(), joined);
        assertTrue(data.documents().stream().allMatch(document -> document.ids()[0] == 1 && document.length() <= 5));
    }

    @Test
    void aMarkAtTheStartOfAFileIsNoData() throws IOException {
        assertEquals(
                1, read(file("a.jsonl", "\uFEFF{\"text\": \"abc\"}\r\n"), 100).size());
        assertEquals(
                1, read(file("b.json", "\uFEFF [{\"text\": \"abc\"}]"), 100).size());
        assertArrayEquals(
                new int[] {1, 'a', 'b', 2},
                read(file("c.txt", "\uFEFFab"), 100).documents().getFirst().ids());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\0',
            value = {
                "{\"text\": \"a\"}~{\"text\": | line 2: not valid JSON",
                "{\"text\": \"a\" | line 1: not valid JSON: Unexpected end-of-input: expected close marker for Object",
                "{\"text\": \"a\", \"n\": NaN} | not valid JSON: Non-standard token 'NaN'; expected one whole object",
                "{~ \"text\": \"a\"~} | expected one whole object on each line, or an array of objects in brackets",
                "{\"text\": \"a\"}~[1] | line 2: expected an object",
                "{\"texts\": \"a\"} | found the fields [texts]",
                "{\"text\": 5} | \"text\" should be a string, found 5",
                "{\"prompt\": \"a\", \"completion\": null} | \"completion\" should be a string, found null",
                "{\"messages\": []} | not supported yet",
                "{\"conversations\": []} | not supported yet",
                "{\"text\": \"a\"} {\"text\": \"b\"} | more than one JSON value",
                "{\"text\": \"a\", \"text\": \"b\"} | Duplicate field 'text'",
                "~ | expected records, found none",
                "[] | expected records, found none",
                "[{\"text\": \"a\"} | not valid JSON",
                "[{\"text\": \"a\"}] x | not valid JSON",
            })
    void whatCannotBeLearntIsRefusedInASentence(String content, String expected) throws IOException {
        Path file = file("bad.jsonl", content.replace('~', '\n'));
        DataException e = assertThrows(DataException.class, () -> read(file, 100));
        assertTrue(e.getMessage().contains(expected), e.getMessage());
        assertTrue(e.getMessage().contains("bad.jsonl"), e.getMessage());
        assertFalse(e.getMessage().contains("Source"), e.getMessage());
    }

    @Test
    void aTextThatTheModelHasNoIdsForIsNamed() throws IOException {
        Encoding none = new Encoding() {
            @Override
            public int[] encode(String text) {
                throw new IllegalArgumentException("the text has <pad>");
            }

            @Override
            public int bos() {
                return 1;
            }

            @Override
            public int eos() {
                return 2;
            }
        };
        Path file = file("a.jsonl", "\n{\"text\": \"<pad>\"}");
        DataException e = assertThrows(DataException.class, () -> DataSet.read(List.of(file), none, 100, true));
        assertEquals(file + ", line 2: the text has <pad>", e.getMessage());
    }

    @Test
    void aSetWithNoTargetsLeftIsRefused() throws IOException {
        Path file = file("a.jsonl", "{\"prompt\": \"abcdefgh\", \"completion\": \"i\"}\n");
        DataException e = assertThrows(DataException.class, () -> read(file, 4));
        assertTrue(e.getMessage().contains("within maxLength 4"), e.getMessage());
    }

    @Test
    void missingFilesAndFilesThatAreNoTextAreNamed() throws IOException {
        assertThrows(DataException.class, () -> read(folder.resolve("none.jsonl"), 100));
        assertThrows(DataException.class, () -> read(folder, 100));
        Path binary = Files.write(folder.resolve("b.jsonl"), new byte[] {(byte) 0xFF, (byte) 0xFE, 0, 1});
        DataException e = assertThrows(DataException.class, () -> read(binary, 100));
        assertTrue(e.getMessage().contains("UTF-8"), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "a.parquet | 'PAR1\u0015' | not text but Parquet: turn it into JSONL",
                "a.jsonl | 'PAR1\u0015' | not text but Parquet: turn it into JSONL",
                "a.arrow | ARROW1 | not text but Arrow: turn it into JSONL",
                "a.json.gz | '\u001F\u008B\u0008' | gzip: unpack it first",
                "a.zip | 'PK\u0003\u0004' | a zip archive: unpack it first",
                "a.jsonl.zst | (\u00B5/\u00FD | Zstandard: unpack it first",
                "a.txt | \u00FE\u00FFa | UTF-16: save it as UTF-8",
                "a.csv | instruction,output | a table: turn it into JSONL",
                "a.TSV | instruction\toutput | a table: turn it into JSONL",
            })
    void otherFormatsAreNamed(String name, String content, String expected) throws IOException {
        Path file = Files.write(folder.resolve(name), content.getBytes(StandardCharsets.ISO_8859_1));
        DataException e = assertThrows(DataException.class, () -> read(file, 100));
        assertTrue(e.getMessage().startsWith(file + ": "), e.getMessage());
        assertTrue(e.getMessage().contains(expected), e.getMessage());
    }

    @Test
    void whatItIsDecidesAndNotWhatItIsCalled() throws IOException {
        assertEquals(1, read(file("a.csv", "\n [{\"text\": \"abc\"}]"), 100).size());
    }

    @Test
    void linesOfATextFileEndAlikeWhereverItWasWritten() throws IOException {
        Document unix = read(file("a.txt", "a\nb\n\nc"), 100).documents().getFirst();
        for (String end : new String[] {"\r\n", "\r"}) {
            Document other = read(file("b.txt", "a" + end + "b" + end + end + "c"), 100)
                    .documents()
                    .getFirst();
            assertArrayEquals(unix.ids(), other.ids());
        }
        String json = "{\"text\": \"a\\r\\nb\"}"; // as it says
        assertEquals(6, read(file("c.jsonl", json), 100).documents().getFirst().length());
    }

    @Test
    void aTextOfAnyLengthIsCutToWhatIsAllowed() throws IOException {
        Path file = file("a.jsonl", "{\"text\": \"" + "x".repeat(21_000_000) + "\"}\n");
        DataSet data = read(file, 100);
        assertEquals(1, data.cut());
        assertEquals(100, data.tokens());
    }

    @Test
    void everyEpochHasEveryDocumentOnceInAnOrderOfItsOwn() {
        List<Document> documents = IntStream.range(0, 10)
                .mapToObj(i -> new Document(new int[] {i, i}, new boolean[] {false, true}))
                .toList();
        Batches batches = new Batches(DataSet.of(documents), 4, 7);
        assertEquals(3, batches.stepsPerEpoch());
        List<Integer> first = epoch(batches, 1);
        List<Integer> second = epoch(batches, 4);
        assertEquals(
                IntStream.range(0, 10).boxed().toList(), first.stream().sorted().toList());
        assertEquals(
                IntStream.range(0, 10).boxed().toList(),
                second.stream().sorted().toList());
        assertTrue(!first.equals(second), "both epochs have the order " + first);
        assertEquals(second, epoch(new Batches(DataSet.of(documents), 4, 7), 4), "a resumed run sees another order");
    }

    private static List<Integer> epoch(Batches batches, long from) {
        return IntStream.range(0, 3)
                .boxed()
                .flatMap(i -> batches.step(from + i).stream())
                .map(document -> document.ids()[0])
                .toList();
    }
}
