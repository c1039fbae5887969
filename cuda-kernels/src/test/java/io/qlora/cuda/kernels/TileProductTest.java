package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.extension.ExtendWith;

/** Our own products on emulated cards, Ampere's and Hopper's, in three orders of threads. */
@ExtendWith(WgmmaUntried.class)
class TileProductTest {

    private static CudaDevice card(int order, int computeMajor) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, order, computeMajor);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 12, true));
    }

    @Test
    void onlyHopperMultipliesByWarpgroupsAndOnlyIfItMay() {
        ProductCase large = ProductCase.large().getFirst();
        ProductCase small = ProductCase.all().getFirst();
        try (CudaDevice ampere = card(0, 8);
                CudaDevice hopper = card(0, 9)) {
            assertFalse(large.byWarpgroups(ampere));
            assertFalse(small.byWarpgroups(hopper));
            assertTrue(large.byWarpgroups(hopper));
            System.setProperty("qlora.cuda.wgmma", "false");
            assertFalse(large.byWarpgroups(hopper));
        }
    }

    @TestFactory
    Stream<DynamicTest> largeProductsAreRightOnHopper() {
        return ProductCase.large().stream()
                .map(product -> DynamicTest.dynamicTest(
                        product.toString(),
                        () -> IntStream.range(0, 3).forEach(order -> {
                            try (CudaDevice card = card(order, 9)) {
                                product.check(card);
                            }
                        })));
    }

    @TestFactory
    Stream<DynamicTest> productsAreRightInEveryFormTypeAndShape() {
        return ProductCase.all().stream()
                .map(product -> DynamicTest.dynamicTest(
                        product.toString(),
                        () -> IntStream.range(0, 3).forEach(order -> {
                            try (CudaDevice card = card(order, 8)) {
                                product.check(card);
                            }
                        })));
    }
}
