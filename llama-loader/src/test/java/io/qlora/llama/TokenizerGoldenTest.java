package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Ids against those the reference stack trained on: prompt and completion of each row, encoded separately. */
class TokenizerGoldenTest {

    private static final JsonMapper JSON = new JsonMapper();

    /** None where {@code -Dgolden} names a directory, whose data is not known. */
    static Stream<Golden> goldenWithData() {
        return Golden.all().filter(golden -> golden.data() != null);
    }

    @ParameterizedTest(allowZeroInvocations = true)
    @MethodSource("goldenWithData")
    void idsOfInstructionsAreTheReferences(Golden golden) throws IOException {
        JsonNode trace = JSON.readTree(golden.figures().resolve("trace-qv.json").toFile());
        int longest = trace.path("sequence_length").intValue();
        List<int[]> encoded = new ArrayList<>();
        try (LlamaTokenizer tokenizer = LlamaTokenizer.load(golden.model(), LlamaConfig.read(golden.model()))) {
            for (String line : Files.readAllLines(golden.data())) {
                int[] ids = encode(tokenizer, JSON.readTree(line));
                if (ids.length <= longest) {
                    encoded.add(ids);
                }
            }
        }
        int n = 0;
        for (JsonNode batch : trace.path("batches")) {
            for (JsonNode document : batch) {
                assertArrayEquals(
                        JSON.convertValue(document.path("input_ids"), int[].class), encoded.get(n), "row " + n);
                n++;
            }
        }
        assertEquals(80, n);
    }

    private static int[] encode(LlamaTokenizer tokenizer, JsonNode row) {
        String input = row.path("input").asText();
        String prompt = "### Instruction:\n" + row.path("instruction").asText() + "\n\n"
                + (input.isEmpty() ? "" : "### Input:\n" + input + "\n\n") + "### Response:\n";
        return Stream.of(
                        IntStream.of(tokenizer.bosId().orElseThrow()),
                        IntStream.of(tokenizer.encode(prompt)),
                        IntStream.of(tokenizer.encode(row.path("output").asText())),
                        IntStream.of(tokenizer.eosId().orElseThrow()))
                .flatMapToInt(ids -> ids)
                .toArray();
    }
}
