package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Where nobody has chosen a locale, as in containers, cron jobs and services: text and paths that are not ASCII. */
@DisabledOnOs(OS.WINDOWS)
class LocaleIT {

    @TempDir
    Path folder;

    /** Runs the jar by a shell, which makes the characters itself: this JVM's locale may be as poor. */
    private static JsonNode run(String before, String jvmArguments, String arguments) throws Exception {
        List<String> java = new ArrayList<>(JarProcess.command());
        java.addAll(
                1,
                Arrays.stream(jvmArguments.split(" "))
                        .filter(word -> !word.isEmpty())
                        .toList());
        String script = before + "exec " + JarProcess.inShell(java) + " " + arguments;
        List<String> command = List.of("env", "-i", "LC_ALL=POSIX", "sh", "-c", script);
        try (JarProcess process = JarProcess.start(command)) {
            JarProcess.Ended ended = process.await();
            assertEquals(0, ended.status(), ended.err());
            return new JsonMapper().readTree(ended.out());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "--add-modules=jdk.incubator.vector"})
    void aPromptArrivesAndItsContinuationIsPrintedWhole(String flags) throws Exception {
        JsonNode expected = Cli.run(
                        "generate",
                        "--model",
                        TinyModel.DIRECTORY,
                        "--prompt",
                        "Grüße",
                        "--max-new-tokens",
                        4,
                        "--json")
                .json();
        JsonNode report = run(
                "",
                flags,
                "generate --json --max-new-tokens 4 --model " + TinyModel.DIRECTORY
                        + " --prompt \"$(printf 'Gr\\303\\274\\303\\237e')\"");
        for (String name : List.of("prompt_tokens", "ids", "text")) {
            assertEquals(expected.get(name), report.get(name));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "--add-modules=jdk.incubator.vector"})
    void aPathIsFound(String flags) throws Exception {
        String copy = "cp -R '" + TinyModel.DIRECTORY.toAbsolutePath() + "' '" + folder
                + "'/$(printf 'mod\\303\\250le') && " + "cd '" + folder + "' && ";
        JsonNode report = run(copy, flags, "inspect --json $(printf 'mod\\303\\250le')");
        assertEquals("modèle", report.get("path").asText());
    }
}
