package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.emulation.WatchedDriver;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The trial of wgmma's kernels on emulated Hopper cards, some of which compute wrongly. */
class WarpgroupsTest {

    private static final int HOPPER = 9;
    private static final Set<String> TRIED = Set.of(
            "wgmma_nt",
            "wgmma_nn",
            "wgmma_tn",
            "wgmma_nt_nf4",
            "wgmma_nn_nf4",
            "attention_forward_64_groups",
            "attention_forward_128_groups",
            "attention_backward_q_64_groups",
            "attention_backward_q_128_groups",
            "attention_backward_kv_64_groups",
            "attention_backward_kv_128_groups");

    private final EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0, HOPPER);
    private final Map<Object, String> names = new HashMap<>();
    private final Set<String> launched = new HashSet<>();

    @AfterEach
    void forget() {
        System.clearProperty("qlora.cuda.wgmma");
    }

    private CudaDevice card(WatchedDriver.Hook hook) {
        return CudaDevice.open(
                WatchedDriver.of(driver, hook), 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 16, false));
    }

    /** Kernels of this name are those of another, or do nothing if it is null. */
    private WatchedDriver.Hook instead(String name, String other) {
        return (method, arguments) -> {
            if (method.equals("function")) {
                String asked = (String) arguments[1];
                String given = asked.equals(name) && other != null ? other : asked;
                long handle = driver.function((long) arguments[0], given);
                names.put(handle, asked);
                return handle;
            }
            if (method.equals("launch")) {
                launched.add(names.get(arguments[0]));
                return (names.get(arguments[0]).equals(name) && other == null) ? Boolean.TRUE : null;
            }
            return null;
        };
    }

    @Test
    void everyKernelIsTriedAndThoseThatAgreeAreUsed() {
        try (CudaDevice card = card(instead("", null))) {
            Warpgroups.of(card).tryAll();
            assertTrue(launched.containsAll(TRIED), launched.toString());
            assertTrue(Warpgroups.of(card).multiply());
            assertTrue(Warpgroups.of(card).attend());
            assertEquals(List.of(), Warpgroups.of(card).refused());
            assertTrue(ProductCase.large().getFirst().byWarpgroups(card));
            long launches = driver.launches();
            Warpgroups.of(card).tryAll();
            assertEquals(launches, driver.launches(), "tried once");
        }
    }

    @Test
    void aProductWhoseRightOperandLiesTheOtherWayIsNotUsed() {
        try (CudaDevice card = card(instead("wgmma_nn", "wgmma_nt"))) {
            assertFalse(Warpgroups.of(card).multiply());
            assertFalse(ProductCase.large().getFirst().byWarpgroups(card));
            launched.clear();
            ProductCase.large().getFirst().check(card); // by mma.sync, and right
            assertTrue(launched.stream().noneMatch(name -> name.startsWith("wgmma")), launched.toString());
        }
    }

    @Test
    void attentionWithoutResultsIsNotUsed() {
        try (CudaDevice card = card(instead("attention_backward_kv_128_groups", null))) {
            assertFalse(Warpgroups.of(card).attend());
        }
    }

    @Test
    void kernelsThatAreMissingAreNotUsed() {
        WatchedDriver.Hook missing = (method, arguments) -> {
            if (method.equals("function") && ((String) arguments[1]).startsWith("wgmma")) {
                throw CudaException.of("cuModuleGetFunction", 500, "CUDA_ERROR_NOT_FOUND", "named symbol not found");
            }
            return null;
        };
        try (CudaDevice card = card(missing)) {
            assertFalse(Warpgroups.of(card).multiply());
        }
    }

    @Test
    void afterAnErrorInAKernelTheWayOutIsNamed() {
        boolean[] failed = new boolean[1];
        WatchedDriver.Hook failing = (method, arguments) -> {
            failed[0] |= method.equals("function") && ((String) arguments[1]).startsWith("wgmma");
            if (failed[0] && method.equals("synchronizeStream")) {
                throw CudaException.of("cuStreamSynchronize", 719, "CUDA_ERROR_LAUNCH_FAILED", "launch failure");
            }
            return null;
        };
        CudaDevice card = card(failing);
        IllegalStateException e = assertThrows(
                IllegalStateException.class, () -> Warpgroups.of(card).tryAll());
        assertTrue(e.getMessage().contains("-Dqlora.cuda.wgmma=false"), e.getMessage());
        failed[0] = false;
        card.close();
    }

    @Test
    void otherCardsTryNothingAndTheWordOfTheUserCounts() {
        EmulatedDriver ampere = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0, 8);
        try (CudaDevice card = CudaDevice.open(ampere, 0, EmulatedDriver.code(), new CudaDevice.Options(4096, false))) {
            Warpgroups.of(card).tryAll();
            assertEquals(0, ampere.launches());
        }
        System.setProperty("qlora.cuda.wgmma", "true");
        try (CudaDevice card = card(instead("wgmma_nn", null))) {
            assertTrue(Warpgroups.of(card).multiply());
            assertEquals(Set.of(), launched);
        }
    }
}
