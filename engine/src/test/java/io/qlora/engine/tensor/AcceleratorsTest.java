package io.qlora.engine.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class AcceleratorsTest {

    private static void assertRefused(String device, String message) {
        assertEquals(
                message,
                assertThrows(IllegalArgumentException.class, () -> Accelerators.open(device, null))
                        .getMessage());
    }

    @Test
    void devicesThatAreNoneAreRefusedInALibrarysWords() {
        assertRefused(
                "gpu 1",
                "device should be cpu, cuda or, for another card than the first, cuda:1 and so on, found gpu 1");
        assertRefused("tpu", "device tpu: this build has no such device, only cpu");
    }

    @Test
    void theProcessorIsMadeByItsConstructor() {
        assertRefused("cpu", "device should be an accelerator, found cpu, which is made by new CpuDevice(threads)");
    }
}
