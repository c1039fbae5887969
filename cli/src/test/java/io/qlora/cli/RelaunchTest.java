package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RelaunchTest {

    @ParameterizedTest
    @ValueSource(strings = {"", "--help", "-V", "help", "train --help", "bench step -h"})
    void helpNeedsNoSecondStart(String line) {
        assertTrue(Main.asksForHelp(line.isEmpty() ? new String[0] : line.split(" ")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"train", "generate --prompt -h", "generate --prompt --help", "doctor"})
    void allElseMayNeedOne(String line) {
        assertFalse(Main.asksForHelp(line.split(" ")));
    }

    @Test
    void theNewCommandKeepsTheJvmsArgumentsAndTheProgramsArguments() {
        List<String> command = Relaunch.command(
                Path.of("jdk with space", "bin", "java"),
                List.of("-Xmx1g", "-Dname=a b"),
                "qlora engine.jar",
                new String[] {"train", "--data", "my data.jsonl", ""});

        assertEquals(
                List.of(
                        Path.of("jdk with space", "bin", "java").toString(),
                        "-Xmx1g",
                        "-Dname=a b",
                        "--add-modules=jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Dqlora.relaunched=true",
                        "-XX:+UseSerialGC",
                        "-Xmn48m",
                        "-cp",
                        "qlora engine.jar",
                        "io.qlora.cli.Main",
                        "train",
                        "--data",
                        "my data.jsonl",
                        ""),
                command);
    }

    /** Of what -Pdist makes: it gives the flags itself, so that one JVM is started and not two. */
    @Test
    void theLauncherGivesTheSameFlags() throws IOException {
        String launcher = Files.readString(Path.of("src/main/dist/bin/qlora"));
        Relaunch.command(Path.of("java"), List.of(), "jar", new String[0]).stream()
                .filter(flag -> flag.startsWith("-") && !flag.contains(Relaunch.MARK))
                .forEach(flag -> assertTrue(launcher.contains(flag), flag));
    }

    @ParameterizedTest
    @ValueSource(strings = {"-XX:+UseZGC", "-Xmn1g", "-XX:MaxNewSize=1g", "-XX:NewRatio=3"})
    void aCollectorOrNurseryOfTheUsersOwnIsLeftToHim(String argument) {
        List<String> command = Relaunch.command(Path.of("java"), List.of(argument), "jar", new String[0]);

        assertEquals(
                1,
                command.stream()
                        .filter(a -> a.startsWith("-XX:") || a.startsWith("-Xmn"))
                        .count());
    }
}
