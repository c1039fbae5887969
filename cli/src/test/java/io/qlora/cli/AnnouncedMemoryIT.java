package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a run announces is what its process takes, on a model of a hundred million parameters. */
class AnnouncedMemoryIT {

    private static final Path JAR = Path.of(System.getProperty("qlora.jar"));
    private static final Path TOKENIZER = Path.of("../llama-loader/src/test/resources/models/tiny/tokenizer.json");
    private static final Path STATUS = Path.of("/proc/self/status");
    private static final int WORDS = 120;

    @TempDir
    Path folder;

    @Test
    void thePeakOfTheProcessIsWithinFifteenPercent() throws Exception {
        assumeTrue(Files.exists(STATUS), "the peak is read from /proc, which is Linux's");
        Path model = writeModel();
        Path data = writeData();
        Path output = folder.resolve("adapter");
        ProcessBuilder builder = new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-jar",
                JAR.toString(),
                "train",
                "--model=" + model,
                "--data=" + data,
                "--output=" + output,
                "--max-steps=6",
                "--per-device-train-batch-size=2",
                "--max-length=256",
                "--json");
        Path errors = folder.resolve("errors");
        Process process = builder.redirectError(errors.toFile()).start();
        long peak = 0;
        while (process.isAlive()) {
            peak = Math.max(peak, highWater(process.pid()));
            Thread.sleep(20);
        }
        String report = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), () -> errorsIn(errors));
        JsonNode planned = new JsonMapper().readTree(report).get("planned_bytes");
        double share = (double) peak / planned.asLong();
        assertTrue(
                Math.abs(share - 1) <= 0.15,
                "announced " + InWords.bytes(planned.asLong()) + ", taken " + InWords.bytes(peak));
    }

    private Path writeModel() throws IOException {
        LlamaConfig config = LlamaConfig.builder()
                .vocabSize(16_000)
                .hiddenSize(768)
                .intermediateSize(2048)
                .numHiddenLayers(12)
                .numAttentionHeads(12)
                .bosTokenId(OptionalInt.of(0))
                .eosTokenIds(List.of(1))
                .build();
        Path directory = folder.resolve("model");
        try (CpuDevice device = new CpuDevice(2);
                LlamaModel model = LlamaModel.random(config, 1, device)) {
            model.save(directory, DType.BF16);
        }
        Files.copy(TOKENIZER, directory.resolve("tokenizer.json"));
        return directory;
    }

    private Path writeData() throws IOException {
        String text = "word ".repeat(WORDS);
        String line = "{\"text\": \"" + text + "\"}\n";
        return Files.writeString(folder.resolve("data.jsonl"), line.repeat(16));
    }

    /** The most that a process has had resident so far, bytes; 0 if it has just gone. */
    private static long highWater(long pid) {
        try {
            Matcher matcher = Pattern.compile("VmHWM:\\s*(\\d+) kB")
                    .matcher(Files.readString(Path.of("/proc/" + pid + "/status")));
            return matcher.find() ? Long.parseLong(matcher.group(1)) << 10 : 0;
        } catch (IOException e) {
            return 0;
        }
    }

    private static String errorsIn(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return e.toString();
        }
    }
}
