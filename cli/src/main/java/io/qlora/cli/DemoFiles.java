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
    private static final long SEED = 20;
    private static final int TRAIN = 1600;
    private static final int HELD_OUT = 100;

    private final Path root;
    private final DemoRecord record;

    private DemoFiles(Path root) {
        this.root = root;
        this.record = new DemoRecord(root, List.of(model(), train(), heldOutFile(), adapter()));
    }

    /**
     * Lays out anew what an earlier demo left, or a folder that is new or empty. What else is there stays.
     *
     * @throws UsageException if no demo has been here before, or something else is in the place of what it left
     */
    static DemoFiles prepare(Path root) throws IOException {
        DemoFiles files = new DemoFiles(root);
        if (files.record.isThere()) {
            files.record.clear();
        } else if (Files.exists(root) && !isEmpty(root)) {
            throw new UsageException("--output " + root + ": is not empty and not from an earlier demo; name another");
        }
        Files.createDirectories(files.model());
        for (String name : MODEL) {
            try (InputStream resource = DemoFiles.class.getResourceAsStream("demo-model/" + name)) {
                Files.copy(resource, files.model().resolve(name));
            }
        }
        files.writeQuestions();
        files.record.add(files.model(), files.train(), files.heldOutFile());
        return files;
    }

    /** Notes what training has left, for the next demo to know it by. */
    void keepRecord() throws IOException {
        record.add(adapter());
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
}
