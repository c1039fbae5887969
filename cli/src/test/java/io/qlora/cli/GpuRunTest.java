package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code bench/gpu-run} with a program in the archive that loses the card where it is told to. */
class GpuRunTest {

    /** Each part has three pieces; in {@code FAULT} the card is lost, unless wgmma is left out and {@code CURED} says so. */
    private static final String PROGRAM = """
            #!/usr/bin/env bash
            echo "$* $JDK_JAVA_OPTIONS" >>"$CALLS"
            [ "$1" = bench ] || exit 0
            part=small after= alone=
            while [ $# -gt 0 ]; do
                case $1 in
                    --json) json=$2 ;;
                    --part) part=$2 ;;
                    --after) after=$2 ;;
                    --alone) alone=$2 ;;
                esac
                shift
            done
            if [ "$FAULT" = opening ] && [[ $JDK_JAVA_OPTIONS != *wgmma=false* ]]; then
                exit 1
            fi
            for piece in "$part one" "$part two" "$part three"; do
                if [ -n "$alone" ]; then
                    [ "$piece" = "$alone" ] || continue
                elif [ -n "$after" ]; then
                    [ "$piece" = "$after" ] && after=
                    continue
                fi
                echo "did $piece"
                if [ "$piece" = "$FAULT" ] && ! { [ -n "$CURED" ] && [[ $JDK_JAVA_OPTIONS == *wgmma=false* ]]; }; then
                    echo '{"complete":false,"next":"'"$piece"'","report":{"kernels":[],"figures":[]}}' >"$json"
                    exit 1
                fi
            done
            echo '{"complete":true,"next":null,"report":{"kernels":[],"figures":[]}}' >"$json"
            """;

    @TempDir
    Path folder;

    private Path calls;

    @BeforeAll
    static void shell() {
        for (String program : List.of("bash", "tar", "timeout")) {
            assumeTrue(Toolchain.has(program), program + " is missing: bench/gpu-run is not run");
        }
    }

    @BeforeEach
    void archive() throws IOException {
        calls = folder.resolve("calls");
        Path program = folder.resolve("qlora-1/bin/qlora");
        Files.createDirectories(program.getParent());
        Files.writeString(program, PROGRAM);
        assertTrue(program.toFile().setExecutable(true));
        Toolchain.run("tar", "-czf", folder.resolve("a.tar.gz").toString(), "-C", folder.toString(), "qlora-1");
    }

    private int run(String fault, String cured) throws IOException, InterruptedException {
        Path script = Path.of(System.getProperty("qlora.root", ".."), "bench", "gpu-run");
        ProcessBuilder builder = new ProcessBuilder(
                        "bash",
                        script.toString(),
                        folder.resolve("a.tar.gz").toString(),
                        folder.resolve("out").toString())
                .redirectErrorStream(true);
        builder.environment().putAll(Map.of("CALLS", calls.toString(), "FAULT", fault, "CURED", cured));
        Process process = builder.start();
        process.getOutputStream().close();
        process.getInputStream().readAllBytes();
        return process.waitFor();
    }

    /** The calls of {@code bench gpu} in which all of this is. */
    private long benches(String... words) throws IOException {
        return Files.readAllLines(calls).stream()
                .filter(call -> call.startsWith("bench gpu "))
                .filter(call -> List.of(words).stream().allMatch(call::contains))
                .count();
    }

    private String log() throws IOException {
        return Files.readString(folder.resolve("out/log.txt"), StandardCharsets.UTF_8);
    }

    @Test
    void eachPartIsAProcess() throws Exception {
        assertEquals(0, run("", ""), this::calls);
        assertEquals(5, benches(), this::calls);
        assertTrue(log().contains("did launches three"), log());
        assertEquals(0, benches("wgmma"), this::calls);
    }

    @Test
    void aPieceThatLosesTheCardCostsNothingButItselfAndIsDoneAloneToNameTheKernel() throws Exception {
        assertEquals(1, run("kernels two", ""), this::calls);
        assertTrue(log().contains("kernels-1 came no further than: kernels two"), log());
        assertEquals(1, benches("--alone kernels two", "-Dqlora.cuda.check=true"), this::calls);
        assertEquals(1, benches("--alone kernels two", "-Dqlora.cuda.wgmma=false"), this::calls);
        assertEquals(1, benches("--part kernels", "--after kernels two"), this::calls);
        assertTrue(log().contains("did kernels three") && log().contains("did launches three"), log());
        assertEquals(1, benches("wgmma=false"), this::calls);
    }

    @Test
    void whatComesToItsEndWithoutWgmmaHasTheRestDoneWithoutIt() throws Exception {
        assertEquals(1, run("checks one", "yes"), this::calls);
        assertEquals(1, benches("--after checks one", "wgmma=false"), this::calls);
        assertEquals(1, benches("--part kernels", "wgmma=false"), this::calls);
        assertEquals(0, benches("--part steps", "check=true"), this::calls);
        assertTrue(
                Files.readString(calls).lines().anyMatch(call -> call.startsWith("demo ") && call.contains("wgmma")));
        assertFalse(log().contains("kernels-1 came no further"), log());
    }

    @Test
    void aCardThatCannotBeOpenedIsOpenedWithoutWgmma() throws Exception {
        assertEquals(1, run("opening", ""), this::calls);
        assertTrue(log().contains("small-1 came no further than: opening the card"), log());
        assertEquals(1, benches("-Dqlora.cuda.check=true"), this::calls);
        assertEquals(5, benches("wgmma=false"), this::calls);
        assertTrue(log().contains("did small three") && log().contains("did launches three"), log());
    }

    private String calls() {
        try {
            return Files.readString(calls);
        } catch (IOException e) {
            return e.toString();
        }
    }
}
