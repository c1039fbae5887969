package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.nn.LinearAdapter;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.WeightLinear;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GeneratorTest {

    private static final int[] PROMPT = {0, 7, 7, 7, 225};
    private static final Set<Integer> NEVER = Set.of();

    private static CpuDevice device;
    private static LlamaModel model;

    @BeforeAll
    static void open() throws IOException {
        device = new CpuDevice(2);
        model = LlamaModel.load(Golden.TINY.model(), LoadOptions.defaults(), device);
    }

    @AfterAll
    static void close() {
        model.close();
        device.close();
    }

    private static GenerationOptions.Builder tokens(int count) {
        return GenerationOptions.builder().maxNewTokens(count).stopIds(NEVER);
    }

    private static int[] generate(GenerationOptions options) {
        try (Generator generator = new Generator(model, 64)) {
            return generator.generate(PROMPT, options, id -> true);
        }
    }

    /** Greedy ids with no cache: the whole document again for every token. */
    private static int[] withoutCache(int count) {
        Sampler greedy = new Sampler(GenerationOptions.builder().build());
        int vocabulary = model.config().vocabSize();
        int[] ids = PROMPT.clone();
        for (int i = 0; i < count; i++) {
            float[] logits = Models.logits(model, ids);
            float[] last = Arrays.copyOfRange(logits, logits.length - vocabulary, logits.length);
            ids = Arrays.copyOf(ids, ids.length + 1);
            ids[ids.length - 1] = greedy.next(last, 0);
        }
        return Arrays.copyOfRange(ids, PROMPT.length, ids.length);
    }

    @Test
    void theCacheChangesNothing() {
        assertArrayEquals(withoutCache(20), generate(tokens(20).build()));
    }

    @Test
    void anAdapterThatIsAttachedTakesPartUntilItIsDetached() {
        int[] base = generate(tokens(12).build());
        LinearAdapter zero = (tape, x, weight, sequences, step) -> {
            Tensor y = WeightLinear.apply(tape, x, weight);
            y.device().zero(y);
            return y;
        };
        AdaptableLinear linear = model.linears().get(6);
        linear.attach(zero);
        try {
            int[] adapted = generate(tokens(12).build());
            assertFalse(Arrays.equals(base, adapted));
            assertArrayEquals(withoutCache(12), adapted);
        } finally {
            linear.attach(null);
        }
        assertArrayEquals(base, generate(tokens(12).build()));
    }

    @Test
    void aGeneratorForgetsTheLastText() {
        try (Generator generator = new Generator(model, 64)) {
            int[] first = generator.generate(PROMPT, tokens(10).build(), id -> true);
            generator.generate(new int[] {0, 9, 8}, tokens(30).build(), id -> true);
            assertArrayEquals(first, generator.generate(PROMPT, tokens(10).build(), id -> true));
        }
    }

    @Test
    void theSeedDecidesWhatIsDrawn() {
        GenerationOptions.Builder drawn = tokens(20).temperature(1);
        int[] one = generate(drawn.seed(1).build());
        assertArrayEquals(one, generate(drawn.seed(1).build()));
        assertFalse(Arrays.equals(one, generate(drawn.seed(2).build())));
    }

    @Test
    void endsBeforeAnIdThatEndsTheText() {
        int[] all = generate(tokens(20).build());
        int stop = all[all.length / 2];
        int end = 0;
        while (all[end] != stop) {
            end++;
        }
        List<Integer> heard = new ArrayList<>();
        try (Generator generator = new Generator(model, 64)) {
            GenerationOptions options = tokens(20).stopIds(Set.of(stop)).build();
            int[] cut = generator.generate(PROMPT, options, heard::add);
            assertArrayEquals(Arrays.copyOf(all, end), cut);
            assertEquals(Arrays.stream(cut).boxed().toList(), heard);
        }
    }

    @Test
    void endsWhenTheListenerHasHeardEnough() {
        try (Generator generator = new Generator(model, 64)) {
            List<Integer> heard = new ArrayList<>();
            int[] ids = generator.generate(PROMPT, tokens(20).build(), id -> heard.add(id) && heard.size() < 3);
            assertEquals(3, ids.length);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {6, 12})
    void endsWhereTheGeneratorDoes(int maxTokens) {
        try (Generator generator = new Generator(model, maxTokens)) {
            int[] ids = generator.generate(PROMPT, tokens(100).build(), id -> true);
            assertEquals(maxTokens - PROMPT.length, ids.length);
        }
    }

    @Test
    void promptsThatDoNotFitAreRefused() {
        try (Generator generator = new Generator(model, 8)) {
            GenerationOptions options = tokens(1).build();
            for (int[] prompt : new int[][] {{}, new int[8]}) {
                IllegalArgumentException e = assertThrows(
                        IllegalArgumentException.class, () -> generator.generate(prompt, options, id -> true));
                assertTrue(e.getMessage().contains("found " + prompt.length), e.getMessage());
            }
            assertThrows(
                    IndexOutOfBoundsException.class, () -> generator.generate(new int[] {384}, options, id -> true));
            assertEquals(1, generator.generate(PROMPT, options, id -> true).length);
        }
        assertThrows(IllegalArgumentException.class, () -> new Generator(model, 1025));
        assertThrows(IllegalArgumentException.class, () -> new Generator(model, 0));
    }
}
