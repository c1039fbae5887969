package io.qlora.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Proxy;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Why there is no GPU, in one sentence. */
class CudaProbeTest {

    /** A driver of which only what a probe asks is there; an answer that is an exception is thrown. */
    private static CudaDriver driver(Map<String, Object> answers) {
        return (CudaDriver) Proxy.newProxyInstance(
                CudaDriver.class.getClassLoader(), new Class<?>[] {CudaDriver.class}, (proxy, method, arguments) -> {
                    String name = method.getName().equals("attribute") ? arguments[1].toString() : method.getName();
                    Object answer = answers.get(name);
                    if (answer instanceof Throwable failure) {
                        throw failure;
                    }
                    return answer;
                });
    }

    private static String probe(Map<String, Object> answers) {
        return CudaProbe.run(driver(answers)).toString();
    }

    @Test
    void aDriverTooOldSaysWhichOneWillDo() {
        assertEquals(
                "no GPU: the driver serves CUDA 11.2, 11.4 is the oldest that will do: install a newer driver",
                probe(Map.of("driverVersion", 11020)));
    }

    @Test
    void aDriverThatCannotBeInitialisedIsQuoted() {
        CudaException failure = CudaException.of("cuInit", 999, "CUDA_ERROR_UNKNOWN", "unknown error");
        assertEquals(
                "no GPU: cuInit(): CUDA_ERROR_UNKNOWN (999), unknown error",
                probe(Map.of("driverVersion", 13000, "init", failure)));
    }

    @Test
    void aDriverWithoutACardSaysSo() {
        assertEquals(
                "no GPU: the driver is there, but it sees no card (is CUDA_VISIBLE_DEVICES set?)",
                probe(Map.of("driverVersion", 13000, "deviceCount", 0)));
    }

    @Test
    void aCardTooOldIsNamed() {
        Map<String, Object> turing = Map.of(
                "driverVersion",
                13000,
                "deviceCount",
                1,
                "COMPUTE_MAJOR",
                7,
                "COMPUTE_MINOR",
                5,
                "MULTIPROCESSORS",
                40,
                "deviceName",
                "Tesla T4",
                "totalMemory",
                16L << 30);
        assertEquals("no GPU: Tesla T4, sm_75, 16 GiB: sm_80 (Ampere) is the oldest that will do", probe(turing));
    }

    @Test
    void aLibraryThatIsNoDriverDoesNotCrash() {
        String said = probe(Map.of("driverVersion", new NoClassDefFoundError("cuDriverGetVersion")));
        assertTrue(said.startsWith("no GPU: the CUDA driver "), said);
    }
}
