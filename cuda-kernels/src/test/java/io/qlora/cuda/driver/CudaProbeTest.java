package io.qlora.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
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

    /** A driver with cards of these compute capabilities. */
    private static CudaDriver cards(int... capabilities) {
        return (CudaDriver) Proxy.newProxyInstance(
                CudaDriver.class.getClassLoader(), new Class<?>[] {CudaDriver.class}, (proxy, method, arguments) -> {
                    String asked = method.getName().equals("attribute") ? arguments[1].toString() : method.getName();
                    return switch (asked) {
                        case "driverVersion" -> 13000;
                        case "deviceCount" -> capabilities.length;
                        case "COMPUTE_MAJOR" -> capabilities[(int) arguments[0]] / 10;
                        case "COMPUTE_MINOR" -> capabilities[(int) arguments[0]] % 10;
                        case "MULTIPROCESSORS" -> 40;
                        case "deviceName" -> "Card " + arguments[0];
                        case "totalMemory" -> 16L << 30;
                        default -> null;
                    };
                });
    }

    private static String refused(CudaDriver driver, int ordinal) {
        return assertThrows(IllegalStateException.class, () -> CudaProbe.require(driver, ordinal))
                .getMessage();
    }

    @Test
    void aCardIsAskedForByItsNumber() {
        assertEquals(86, CudaProbe.require(cards(90, 86), 1).capability());
        assertEquals(
                "there is no cuda:2 to use, but cuda:0, Card 0, sm_90, 16 GiB; cuda:1, Card 1, sm_86, 16 GiB",
                refused(cards(90, 86), 2));
        assertEquals(
                "there is no cuda:1 to use, but cuda:0, Card 0, sm_90, 16 GiB; cuda:1, Card 1, sm_75, 16 GiB:"
                        + " sm_80 (Ampere) is the oldest that will do",
                refused(cards(90, 75), 1));
    }

    @Test
    void aMachineWithoutACardThatWillDoSaysWhyWhateverIsAskedFor() {
        assertEquals(
                "no GPU: the driver is there, but it sees no card (is CUDA_VISIBLE_DEVICES set?)", refused(cards(), 0));
        assertEquals(
                "no GPU: cuda:0, Card 0, sm_75, 16 GiB: sm_80 (Ampere) is the oldest that will do",
                refused(cards(75), 0));
        assertEquals(
                "no GPU: the driver serves CUDA 11.2, 11.4 is the oldest that will do: install a newer driver",
                refused(driver(Map.of("driverVersion", 11020)), 0));
    }

    @Test
    void inAFewWordsItFitsTheFirstLineOfARun() {
        assertEquals("Card 0", CudaProbe.run(cards(90)).summary());
        assertEquals("Card 1 and 1 more", CudaProbe.run(cards(75, 90, 90)).summary());
        assertEquals("no GPU: no card", CudaProbe.run(cards()).summary());
        assertEquals("no GPU: the card is too old", CudaProbe.run(cards(75)).summary());
        assertEquals(
                "no GPU: the CUDA driver is too old",
                CudaProbe.run(driver(Map.of("driverVersion", 11020))).summary());
    }

    @Test
    void aDriverThatReportsNoDeviceIsOneWithoutACard() {
        CudaException none =
                CudaException.of("cuInit", 100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected");
        assertEquals(
                "no GPU: the driver is there, but it sees no card (is CUDA_VISIBLE_DEVICES set?)",
                probe(Map.of("driverVersion", 13000, "init", none)));
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
        assertEquals(
                "no GPU: cuda:0, Tesla T4, sm_75, 16 GiB: sm_80 (Ampere) is the oldest that will do", probe(turing));
    }

    @Test
    void aLibraryThatIsNoDriverDoesNotCrash() {
        String said = probe(Map.of("driverVersion", new NoClassDefFoundError("cuDriverGetVersion")));
        assertTrue(said.startsWith("no GPU: the CUDA driver cannot be used, "), said);
    }
}
