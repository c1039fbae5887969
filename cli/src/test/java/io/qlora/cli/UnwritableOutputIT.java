package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** {@link UnwritableOutputTest} with the system's own full disk and closed pipe. */
@EnabledOnOs(OS.LINUX)
class UnwritableOutputIT {

    private static JarProcess.Ended shell(String script) throws Exception {
        try (JarProcess process = JarProcess.start(List.of("sh", "-c", script))) {
            return process.await();
        }
    }

    @Test
    void aFullDiskIsTold() throws Exception {
        JarProcess.Ended ended = shell(JarProcess.inShell(JarProcess.command("doctor")) + " >/dev/full");
        assertEquals(1, ended.status(), ended.err());
        assertTrue(ended.err().endsWith("qlora: standard output cannot be written: No space left on device\n"));
    }

    @Test
    void aPipeThatIsClosedEndsItQuietly() throws Exception {
        String inspect = JarProcess.inShell(JarProcess.command("inspect", TinyModel.DIRECTORY));
        JarProcess.Ended ended = shell("{ sleep 1; " + inspect + "; echo $? >&2; } | true");
        assertTrue(ended.err().endsWith("\n141\n"), ended.err());
        assertFalse(ended.err().contains("qlora: "), ended.err());
    }
}
