package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.tensor.Accelerator;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ServiceLoader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MachineTest {

    /** What another module might bring. */
    public static final class Abacus implements Accelerator {
        @Override
        public String describe() {
            return "an abacus of 10 wires";
        }
    }

    @Test
    void whatAnotherModuleBringsIsInTheReport(@TempDir Path folder) throws Exception {
        Path services = Files.createDirectories(folder.resolve("META-INF/services"));
        Files.writeString(services.resolve(Accelerator.class.getName()), Abacus.class.getName());
        URL[] path = {folder.toUri().toURL()};
        try (URLClassLoader loader = new URLClassLoader(path, MachineTest.class.getClassLoader())) {
            assertEquals("an abacus of 10 wires", Machine.accelerators(ServiceLoader.load(Accelerator.class, loader)));
        }
    }

    @Test
    void theFirstLineFitsATerminal() {
        String line = Machine.inspect().summary(128);
        assertTrue(line.length() <= 80, line);
        assertTrue(line.startsWith("qlora    JDK " + Runtime.version().feature()), line);
    }
}
