package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What transformers makes of stories260K: greedy text, likelihoods, the likeliest tokens. */
class GenerationGoldenTest {

    private static final Path MODEL = Golden.STORIES.model();
    private static final int WINDOW = 256; // BOS and 255 tokens

    private static CpuDevice device;
    private static LlamaModel model;
    private static LlamaTokenizer tokenizer;
    private static JsonNode reference;

    @BeforeAll
    static void load() throws IOException {
        assumeTrue(Files.isDirectory(MODEL), MODEL + " is not there");
        device = new CpuDevice(2);
        model = LlamaModel.load(MODEL, Models.DENSE, device);
        tokenizer = LlamaTokenizer.load(MODEL, model.config());
        reference = new JsonMapper().readTree(MODEL.resolve("reference.json").toFile());
    }

    @AfterAll
    static void close() {
        if (model != null) {
            tokenizer.close();
            model.close();
            device.close();
        }
    }

    private static int[] ints(JsonNode node) {
        return IntStream.range(0, node.size()).map(i -> node.get(i).intValue()).toArray();
    }

    private static int[] withBos(String text) {
        return IntStream.concat(IntStream.of(tokenizer.bosId().orElseThrow()), IntStream.of(tokenizer.encode(text)))
                .toArray();
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "Once upon a time", "I dreamed"})
    void greedyIdsAreTheReferences(String prompt) {
        JsonNode expected = reference.path("prompt:" + prompt);
        int[] ids = withBos(prompt);
        assertArrayEquals(ints(expected.path("input_ids")), ids);
        GenerationOptions options =
                GenerationOptions.builder().maxNewTokens(100).stopIds(Set.of()).build();
        StringBuilder text = new StringBuilder(tokenizer.decode(ids));
        TextStream stream = tokenizer.stream(ids);
        try (Generator generator = new Generator(model, 256)) {
            int[] generated = generator.generate(ids, options, id -> {
                text.append(stream.add(id));
                return true;
            });
            assertArrayEquals(ints(expected.path("greedy_ids_first100")), generated);
        }
        text.append(stream.rest());
        String story = expected.path("text").textValue();
        assertEquals(story.substring(0, text.length()), text.toString());
        assertTrue(text.length() > 200, text.toString());
    }

    @Test
    void likeliestTokensAndTheirLogitsAreTheReferences() throws IOException {
        JsonNode expected = reference.path("logits_last_pos_top5");
        float[] all = Models.logits(
                model, ints(reference.path("prompt:Once upon a time").path("input_ids")));
        float[] last = Arrays.copyOfRange(all, all.length - model.config().vocabSize(), all.length);
        int[] likeliest = IntStream.range(0, last.length)
                .boxed()
                .sorted(Comparator.comparingDouble(id -> -last[id]))
                .limit(expected.size())
                .mapToInt(Integer::intValue)
                .toArray();
        for (int i = 0; i < likeliest.length; i++) {
            assertEquals(expected.get(i).get(0).intValue(), likeliest[i]);
            assertEquals(expected.get(i).get(1).doubleValue(), last[likeliest[i]], 2e-4);
        }
    }

    @Test
    void likelihoodOfALongTextIsTheReferences() throws IOException {
        String text = Files.readString(Golden.SHARED.resolve("data/tinyshakespeare.txt"));
        int[] ids = tokenizer.encode(text.substring(text.length() - 20_000).strip());
        JsonNode expected = reference.path("nll").path("tinyshakespeare_tail20k");
        assertEquals(expected.path("tokens").intValue(), ids.length);
        double sum = 0;
        try (StepMemory memory = new StepMemory(device)) {
            for (int from = 0; from < ids.length; from += WINDOW - 1) {
                sum += nll(memory, Arrays.copyOfRange(ids, from, Math.min(ids.length, from + WINDOW - 1)));
            }
        }
        assertEquals(expected.path("mean_nll").doubleValue(), sum / ids.length, 1e-6);
    }

    private static double nll(StepMemory memory, int[] targets) {
        int count = targets.length;
        int[] inputs = IntStream.concat(
                        IntStream.of(tokenizer.bosId().orElseThrow()), Arrays.stream(targets, 0, count - 1))
                .toArray();
        try (Tape tape = Tape.inference(memory)) {
            Tensor rows =
                    tape.empty(DType.I32, count).set(IntStream.range(0, count).toArray());
            return model.loss(
                            tape,
                            tape.empty(DType.I32, count).set(inputs),
                            Sequences.of(memory.activations(), 0, count),
                            rows,
                            tape.empty(DType.I32, count).set(targets),
                            1f,
                            null,
                            Checkpointing.NONE)
                    .item();
        }
    }
}
