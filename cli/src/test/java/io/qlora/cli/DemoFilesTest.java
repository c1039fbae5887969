package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaTokenizer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DemoFilesTest {

    @TempDir
    Path directory;

    /** What the bundled weights were trained with. */
    @Test
    void theBundledTokenizerBeginsAndEndsDocumentsAsTheModelLearnt() throws IOException {
        Path model = DemoFiles.prepare(directory.resolve("demo")).model();
        try (LlamaTokenizer tokenizer = LlamaTokenizer.load(model, LlamaConfig.read(model))) {
            assertEquals(OptionalInt.of(0), tokenizer.bosId());
            assertEquals(OptionalInt.of(1), tokenizer.eosId());
            assertEquals(Set.of(1), tokenizer.stopIds());
            String text = DemoFiles.heldOut().getFirst().input();
            int[] ids = tokenizer.encode(text);
            assertEquals(text, tokenizer.decode(ids));
            assertArrayEquals(new int[] {1}, tokenizer.encode("<|end_of_text|>"));
        }
    }
}
