package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaTokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

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

    /** A folder as a demo leaves it that ran to its end. */
    private Path demo() throws IOException {
        Path root = directory.resolve("demo");
        DemoFiles files = DemoFiles.prepare(root);
        Files.createDirectory(files.adapter());
        Files.writeString(files.adapter().resolve("adapter_config.json"), "{}");
        files.keepRecord();
        return root;
    }

    private static void assertRefused(Path root, Path named) throws IOException {
        Contents before = Contents.of(root);
        UsageException e = assertThrows(UsageException.class, () -> DemoFiles.prepare(root));
        assertEquals(
                "--output " + root + ": " + named
                        + " is not as an earlier demo left it; move it away, or name another --output",
                e.getMessage());
        before.assertSame(Contents.of(root));
    }

    @Test
    void whatAnEarlierDemoLeftIsTakenAwayAndAllElseStays() throws IOException {
        Path root = demo();
        Path own = Files.createDirectory(root.resolve("my-adapter")).resolve("adapter_model.safetensors");
        Files.writeString(own, "learnt");
        DemoFiles again = DemoFiles.prepare(root);
        assertFalse(Files.exists(again.adapter()));
        assertTrue(Files.exists(again.train()));
        assertEquals("learnt", Files.readString(own));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"train.jsonl", "tiny-llama/config.json", "adapter/adapter_config.json", "adapter/notes.txt"})
    void whatWasChangedOrPutThereSinceIsLeftAndNamed(String name) throws IOException {
        Path root = demo();
        Path changed = Files.writeString(root.resolve(name), "the user's own");
        assertRefused(root, changed);
    }

    @Test
    void anAdapterThatNoDemoNotedIsLeftAndNamed() throws IOException {
        Path root = directory.resolve("demo");
        Path adapter = Files.createDirectory(DemoFiles.prepare(root).adapter());
        assertRefused(root, Files.writeString(adapter.resolve("adapter_config.json"), "{}"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"adapter", "tiny-llama", "held-out.jsonl"})
    @DisabledOnOs(value = OS.WINDOWS, disabledReason = "links take a right there")
    void noLinkIsFollowed(String name) throws IOException {
        Path root = demo();
        Path elsewhere = Files.move(root.resolve(name), directory.resolve("elsewhere"));
        Contents kept = Contents.of(elsewhere);
        assertRefused(root, Files.createSymbolicLink(root.resolve(name), elsewhere));
        kept.assertSame(Contents.of(elsewhere));
    }

    @Test
    void aFolderOfOtherThingsIsRefused() throws IOException {
        Path notes = Files.writeString(directory.resolve("notes.txt"), "keep");
        assertThrows(UsageException.class, () -> DemoFiles.prepare(directory));
        assertEquals("keep", Files.readString(notes));
    }
}
