package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.RouteTable.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RouteTableTest {

    private static final RouteTable TABLE = RouteTable.UNMEASURED;

    @TempDir
    Path folder;

    @Test
    void aProductTakesTheRouteOfTheLastRuleThatHasBegun() {
        assertEquals(Route.FEW_ROWS, TABLE.route(Form.NT, Kind.NF4, 8, true));
        assertEquals(Route.TILES, TABLE.route(Form.NT, Kind.NF4, 9, true));
        assertEquals(Route.TILES, TABLE.route(Form.NT, Kind.NF4, 511, true));
        assertEquals(Route.LIBRARY, TABLE.route(Form.NT, Kind.NF4, 512, true));
        assertEquals(Route.LIBRARY, TABLE.route(Form.TN, Kind.DENSE, Integer.MAX_VALUE, true));
    }

    @Test
    void withoutALibraryEveryRouteIsOurs() {
        for (Kind kind : Kind.values()) {
            assertTrue(TABLE.route(Form.NN, kind, 4096, false) != Route.LIBRARY, kind.toString());
        }
    }

    @Test
    void aTableIsItsText() {
        assertEquals(
                TABLE.toString(), RouteTable.parse(TABLE.toString(), "again").toString());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "nt nf4 5 tiles", // no route without a library
                "nt nf4 5 tiles library", // a library where there is none
                "nn nf4 5 few-rows tiles", // only forward
                "nt nf5 5 tiles tiles",
                "nt nf4 0 tiles tiles",
                "nt nf4 five tiles tiles",
                "nt nf4 5 tiles tiles tiles",
                ""
            })
    void whatIsNoRuleIsRefused(String line) {
        assertThrows(IllegalArgumentException.class, () -> RouteTable.parse(TABLE + line + "\n", "test"));
    }

    @Test
    void aTableThatLeavesAProductOutIsRefused() {
        String text = TABLE.toString().replace("tn dense 1 tiles tiles\n", "");
        assertThrows(IllegalArgumentException.class, () -> RouteTable.parse(text, "test"));
    }

    @Test
    void aMeasuredTableIsFoundByLaterRunsUnlessItIsDamaged() throws IOException {
        String before = System.getProperty("qlora.cuda.cache");
        System.setProperty("qlora.cuda.cache", folder.toString());
        try {
            assertTrue(routes().contains("not yet measured on a card"));
            RouteTable measured = RouteTable.parse(TABLE.toString().replace("512", "300"), "measured");
            try (CudaDevice card = card()) {
                CudaMatMul.of(card).use(measured, true);
            }
            assertTrue(routes().contains("measured on this card by bench gpu\nnt nf4 1 few-rows few-rows"), routes());
            assertTrue(routes().contains("nt nf4 300 library tiles"));
            Path file = onlyFile();
            byte[] bytes = Files.readAllBytes(file);
            bytes[bytes.length - 3] ^= 1;
            Files.write(file, bytes);
            assertTrue(routes().contains("not yet measured on a card"));
        } finally {
            if (before == null) {
                System.clearProperty("qlora.cuda.cache");
            } else {
                System.setProperty("qlora.cuda.cache", before);
            }
        }
    }

    private Path onlyFile() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            List<Path> all = files.toList();
            assertEquals(1, all.size(), all.toString());
            return all.getFirst();
        }
    }

    private static CudaDevice card() {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1000, true));
    }

    private static String routes() {
        try (CudaDevice card = card()) {
            return CudaMatMul.of(card).routes();
        }
    }
}
