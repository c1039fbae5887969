package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.Accelerator;
import io.qlora.engine.tensor.Device;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MachineTest {

    /** What another module might bring. */
    private static final class Abacus implements Accelerator {
        @Override
        public String name() {
            return "abacus";
        }

        @Override
        public String describe() {
            return "an abacus of 10 wires";
        }

        @Override
        public String summary() {
            return "an abacus";
        }

        @Override
        public List<String> bindings() {
            return List.of("fingers");
        }

        @Override
        public Device open(int ordinal, String binding) {
            return new CpuDevice(1);
        }
    }

    private static Machine machine(String gpu) {
        return new Machine("25.0.3+9-LTS", "", "", "", "", true, 512, 128, 128, 0, 0, 0, "", gpu);
    }

    @Test
    void whatOtherModulesBringIsInTheReport() {
        assertEquals("no GPU backend in this build", Machine.joined(List.of(), Accelerator::describe));
        assertEquals("an abacus of 10 wires", Machine.joined(List.of(new Abacus()), Accelerator::describe));
        assertEquals("an abacus; an abacus", Machine.joined(List.of(new Abacus(), new Abacus()), Accelerator::summary));
    }

    @ParameterizedTest
    @CsvSource({
        "no GPU: no CUDA driver, no GPU: no CUDA driver",
        "no GPU: the card is too old, no GPU: the card is too old",
        "NVIDIA H200, not used: NVIDIA H200 (--device cuda)"
    })
    void theFirstLineSaysWhatTheGpuIsOrWhyThereIsNone(String gpu, String said) {
        String line = machine(gpu).summary(128);
        assertTrue(line.startsWith("qlora    JDK 25.0.3, 128 threads, 512-bit vectors,"), line);
        assertTrue(line.endsWith(said), line);
    }

    @Test
    void theFirstLineFitsATerminal() {
        for (String line : List.of(
                Machine.inspect().summary(128),
                machine("NVIDIA H200 and 7 more").summary(128))) {
            assertTrue(line.startsWith("qlora    JDK " + Runtime.version().feature()), line);
            line.lines().forEach(each -> assertTrue(each.length() <= 80, line));
        }
    }
}
