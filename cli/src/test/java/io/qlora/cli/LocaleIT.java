package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Where nobody has chosen a locale, as in containers, cron jobs and services: text and paths that are not ASCII. */
@DisabledOnOs(OS.WINDOWS)
class LocaleIT {

    private static final String GENERATE =
            "generate --json --max-new-tokens 4 --model '" + TinyModel.DIRECTORY.toAbsolutePath() + "' --prompt ";

    // By the shell, which makes the characters itself: this JVM's locale may be as poor.
    private static final String GRUESSE = "printf 'Gr\\303\\274\\303\\237e\\n'";
    private static final String MODELE = "$(printf 'mod\\303\\250le')";

    @TempDir
    Path folder;

    /** The jar, as a shell runs it. */
    private static String jar(String... flags) {
        List<String> java = new ArrayList<>(JarProcess.command());
        java.addAll(1, List.of(flags));
        return JarProcess.inShell(java) + " ";
    }

    private static JsonNode run(String locale, String script) throws Exception {
        try (JarProcess process = JarProcess.start(List.of("env", "-i", "LC_ALL=" + locale, "sh", "-c", script))) {
            JarProcess.Ended ended = process.await();
            assertEquals(0, ended.status(), ended.err());
            return new JsonMapper().readTree(ended.out());
        }
    }

    private static void assertContinuesGruesse(String script) throws Exception {
        JsonNode expected = run("C.UTF-8", jar() + GENERATE + "\"$(" + GRUESSE + ")\"");
        JsonNode report = run("POSIX", script);
        for (String name : List.of("prompt_tokens", "ids", "text")) {
            assertEquals(expected.get(name), report.get(name));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"-Dno=flag", "--add-modules=jdk.incubator.vector"})
    void aPromptArrivesAndItsContinuationIsPrintedWhole(String flag) throws Exception {
        assertContinuesGruesse(jar(flag) + GENERATE + "\"$(" + GRUESSE + ")\"");
    }

    @Test
    void aPromptOnStandardInputIsTheSame() throws Exception {
        assertContinuesGruesse(GRUESSE + " | " + jar() + GENERATE + "-");
    }

    @ParameterizedTest
    @ValueSource(strings = {"-Dno=flag", "--add-modules=jdk.incubator.vector"})
    void aPathIsFound(String flag) throws Exception {
        String copy = "cd '" + folder + "' && cp -R '" + TinyModel.DIRECTORY.toAbsolutePath() + "' " + MODELE + " && ";
        JsonNode report = run("POSIX", copy + jar(flag) + "inspect --json " + MODELE);
        assertEquals("modèle", report.get("path").asText());
    }
}
