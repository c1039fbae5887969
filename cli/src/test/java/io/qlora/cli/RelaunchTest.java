package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

class RelaunchTest {

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
                        "-cp",
                        "qlora engine.jar",
                        "io.qlora.cli.Main",
                        "train",
                        "--data",
                        "my data.jsonl",
                        ""),
                command);
    }
}
