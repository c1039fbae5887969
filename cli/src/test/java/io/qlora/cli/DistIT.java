package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/** What -Pdist makes, on a machine without Java, or anything else on its path. */
@EnabledIfSystemProperty(named = "qlora.dist", matches = ".+", disabledReason = "only -Pdist makes what is tested")
class DistIT {

    @TempDir
    static Path folder;

    private static Path home;

    private record Run(int status, String out, String err) {}

    @BeforeAll
    static void unpack() throws Exception {
        Path unpacked = Files.createDirectory(folder.resolve("a b"));
        int status = new ProcessBuilder("tar", "xzf", System.getProperty("qlora.dist"), "-C", unpacked.toString())
                .inheritIO()
                .start()
                .waitFor();
        assertEquals(0, status);
        try (Stream<Path> entries = Files.list(unpacked)) {
            home = entries.findFirst().orElseThrow();
        }
    }

    private static Run run(Path launcher, Object... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(launcher.toString()));
        Arrays.stream(arguments).map(Object::toString).forEach(command::add);
        Path errors = folder.resolve("errors");
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(errors.toFile());
        builder.environment().clear();
        builder.environment().put("PATH", folder.resolve("nothing").toString());
        builder.environment().put("HOME", folder.toString());
        Process process = builder.start();
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Run(process.waitFor(), out, Files.readString(errors));
    }

    private static Path launcher() {
        return home.resolve("bin/qlora");
    }

    @Test
    void itSaysItsVersion() throws Exception {
        Run run = run(launcher(), "--version");
        assertEquals(0, run.status, run.err);
        assertTrue(run.out.startsWith("qlora 0.1") && run.out.contains(", JDK 25"), run.out);
    }

    @Test
    void theRuntimeHasAllThatFullSpeedNeeds() throws Exception {
        Run run = run(launcher(), "doctor", "--json");
        assertEquals(0, run.status, run.err);
        JsonNode report = new JsonMapper().readTree(run.out);
        assertTrue(report.get("vector_module").asBoolean());
        assertEquals("its native library loads", report.get("tokenizer").asText());
        assertEquals(
                home.resolve("runtime").toRealPath().toString(),
                report.get("jdk_home").asText());
    }

    @Test
    void itTrainsAndUsesWhatItTrained() throws Exception {
        Path data = TinyModel.data(folder.resolve("data.jsonl"), 4);
        Path output = folder.resolve("out");
        Run train = run(
                launcher(),
                Cli.training(TinyModel.DIRECTORY.toAbsolutePath(), data, output, "--max-steps 2 --lora-r 2"));
        assertEquals(0, train.status, train.err);
        assertTrue(train.out.contains("trained 2 of 2 steps"), train.out);
        Run generate = run(
                launcher(),
                "generate",
                "--model",
                TinyModel.DIRECTORY.toAbsolutePath(),
                "--adapter",
                output,
                "--prompt",
                "Say red.",
                "--max-new-tokens",
                2);
        assertEquals(0, generate.status, generate.err);
    }

    @Test
    void exitCodesPassThroughAndArgumentsStayWhole() throws Exception {
        Run run = run(launcher(), "inspect", folder.resolve("no such file"));
        assertEquals(2, run.status, run.err);
        assertTrue(run.err.contains("no such file: there is no such file or directory"), run.err);
    }

    /** Nobody has chosen a locale here. */
    @Test
    void textThatIsNotAsciiArrives() throws Exception {
        String generate = "'" + launcher() + "' generate --json --max-new-tokens 2 --model '"
                + TinyModel.DIRECTORY.toAbsolutePath() + "' --prompt \"$(printf 'Gr\\303\\274\\303\\237e')\"";
        Run run = run(Path.of("/bin/sh"), "-c", generate);
        assertEquals(0, run.status, run.err);
        Run chosen = run(Path.of("/bin/sh"), "-c", "export LC_ALL=C.UTF-8; " + generate);
        JsonMapper mapper = new JsonMapper();
        assertEquals(
                mapper.readTree(chosen.out).get("ids"), mapper.readTree(run.out).get("ids"));
        assertEquals(1, run.err.split("incubator modules", -1).length - 1, "JVMs that were started: " + run.err);
    }

    @Test
    void aLinkToTheLauncherWillDo() throws Exception {
        Path link = Files.createSymbolicLink(folder.resolve("qlora"), launcher());
        ProcessBuilder builder = new ProcessBuilder(link.toString(), "--version");
        builder.environment().put("HOME", folder.toString()); // finding what a link points to takes the system's tool
        assertEquals(0, builder.start().waitFor());
    }

    @Test
    void licencesAreThere() {
        for (String file : List.of("LICENSE", "NOTICE", "THIRD-PARTY.txt", "README.md", "runtime/legal/java.base")) {
            assertTrue(Files.exists(home.resolve(file)), file);
        }
    }
}
