package io.qlora.cli;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;

/** The demo's folder: the bundled model unpacked, the questions to learn from, those held out, and what training leaves. */
final class DemoFiles {

    private static final List<String> MODEL = List.of("config.json", "model.safetensors", "tokenizer.json");
    private static final String MARKER = ".qlora-demo";
    private static final long SEED = 20;
    private static final int TRAIN = 1600;
    private static final int HELD_OUT = 100;

    private final Path root;

    private DemoFiles(Path root) {
        this.root = root;
    }

    /**
     * Lays the folder out anew.
     *
     * @throws UsageException if it holds something that no demo left there
     */
    static DemoFiles prepare(Path root) throws IOException {
        if (Files.exists(root) && !Files.exists(root.resolve(MARKER)) && !isEmpty(root)) {
            throw new UsageException("--output " + root + ": is not empty and not from an earlier demo; name another");
        }
        delete(root);
        DemoFiles files = new DemoFiles(root);
        Files.createDirectories(files.model());
        Files.createFile(root.resolve(MARKER));
        for (String name : MODEL) {
            try (InputStream resource = DemoFiles.class.getResourceAsStream("demo-model/" + name)) {
                Files.copy(resource, files.model().resolve(name));
            }
        }
        files.writeQuestions();
        return files;
    }

    Path model() {
        return root.resolve("tiny-llama");
    }

    Path train() {
        return root.resolve("train.jsonl");
    }

    Path heldOutFile() {
        return root.resolve("held-out.jsonl");
    }

    Path adapter() {
        return root.resolve("adapter");
    }

    /** Questions about facts that are in none of those trained on. */
    static List<DemoWorld.Question> heldOut() {
        return questions().subList(TRAIN, TRAIN + HELD_OUT);
    }

    private static List<DemoWorld.Question> questions() {
        Random random = new Random(SEED);
        Set<String> inputs = new HashSet<>();
        List<DemoWorld.Question> questions = new ArrayList<>();
        while (questions.size() < TRAIN + HELD_OUT) {
            DemoWorld.Question question = DemoWorld.question(random);
            if (inputs.add(question.input())) {
                questions.add(question);
            }
        }
        return questions;
    }

    private void writeQuestions() throws IOException {
        List<DemoWorld.Question> questions = questions();
        write(train(), questions.subList(0, TRAIN));
        write(heldOutFile(), questions.subList(TRAIN, questions.size()));
    }

    private static void write(Path file, List<DemoWorld.Question> questions) throws IOException {
        JsonMapper mapper = new JsonMapper();
        List<String> lines = new ArrayList<>();
        for (DemoWorld.Question question : questions) {
            ObjectNode line = mapper.createObjectNode();
            line.put("instruction", question.instruction());
            line.put("input", question.input());
            line.put("output", question.output());
            lines.add(line.toString());
        }
        Files.write(file, lines);
    }

    private static boolean isEmpty(Path directory) throws IOException {
        if (!Files.isDirectory(directory)) {
            return false;
        }
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.findAny().isEmpty();
        }
    }

    private static void delete(Path path) throws IOException {
        if (Files.isDirectory(path)) {
            try (Stream<Path> entries = Files.list(path)) {
                for (Path entry : entries.toList()) {
                    delete(entry);
                }
            }
        }
        Files.deleteIfExists(path);
    }
}
