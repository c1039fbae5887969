package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.Recorder;
import io.qlora.cuda.emulation.Toolchain;
import io.qlora.cuda.kernels.CudaAttention.Variant;
import io.qlora.cuda.kernels.CudaAttention.Variants;
import io.qlora.cuda.kernels.TileProduct.Tile;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** What a kernel makes of a tile, and what is launched for it, are said twice: in its source, and beside its launch. */
class TileSizesTest {

    private static final int ROWS = 16; // of an mma.sync
    private static final int COLUMNS = 8;
    private static final int WARP = 32;

    /** The arguments of a macro's uses in a source, by the first of them: a kernel's name. */
    private static Map<String, List<String>> uses(String macro, String file) throws IOException {
        Map<String, List<String>> uses = new HashMap<>();
        Matcher use = Pattern.compile("(?m)^" + macro + "\\((.*)\\)$").matcher(source(file));
        while (use.find()) {
            List<String> arguments = new ArrayList<>(Arrays.asList(use.group(1).split("[,<>]\\s*")));
            uses.put(arguments.removeFirst(), arguments);
        }
        assertTrue(!uses.isEmpty(), file);
        return uses;
    }

    private static int defined(String name, String file) throws IOException {
        Matcher define = Pattern.compile("(?m)^#define " + name + " (\\d+)").matcher(source(file));
        assertTrue(define.find(), name);
        return Integer.parseInt(define.group(1));
    }

    private static String source(String file) throws IOException {
        return Files.readString(Toolchain.kernels().resolve(file));
    }

    private static int number(List<String> arguments, int i) {
        return Integer.parseInt(arguments.get(i));
    }

    @Test
    void tilesOfProductsAreThoseOfTheirSource() throws IOException {
        Map<String, List<String>> kernels = uses("MATMUL", "matmul.cu");
        for (Tile tile : Tile.values()) {
            int found = 0;
            for (String form : List.of("nt", "nn", "tn", "nt_nf4", "nn_nf4")) {
                List<String> kernel = kernels.remove("matmul_" + form + "_" + tile.name);
                if (kernel != null) {
                    String which = form + " " + tile;
                    assertEquals(tile.rows, number(kernel, 0) * number(kernel, 2) * ROWS, which);
                    assertEquals(tile.cols, number(kernel, 1) * number(kernel, 3) * COLUMNS, which);
                    assertEquals(TileProduct.THREADS, number(kernel, 0) * number(kernel, 1) * WARP, which);
                    assertEquals(tile.stages, number(kernel, 8), which);
                    found++;
                }
            }
            assertTrue(found > 0, tile.toString());
        }
        assertEquals(Set.of(), kernels.keySet());
    }

    @Test
    void tilesOfWarpgroupsAreThoseOfTheirSource() throws IOException {
        String file = "matmul_wgmma.cu";
        uses("WGMMA_MATMUL", file).forEach((name, kernel) -> {
            boolean nf4 = name.endsWith("_nf4");
            assertEquals(nf4 ? WarpgroupProduct.LONG : WarpgroupProduct.SHORT, number(kernel, 0), name);
            assertEquals(nf4 ? WarpgroupProduct.SHORT : WarpgroupProduct.LONG, number(kernel, 1), name);
        });
        assertEquals(WarpgroupProduct.STAGES, defined("STAGES", file));
        assertEquals(WarpgroupProduct.THREADS, 3 * defined("GROUP", file));
    }

    @Test
    void fewRowsAreAsManyAsInTheirSource() throws IOException {
        assertEquals(FewRows.MOST, defined("MOST_ROWS", "few_rows.cu"));
        assertEquals(FewRows.OUTPUTS, defined("OUTPUTS", "few_rows.cu"));
        assertEquals(Launches.THREADS, defined("WARPS", "few_rows.cu") * WARP);
    }

    @Test
    void tilesOfAttentionAreThoseOfTheirSource() throws IOException {
        Map<String, List<String>> kernels = uses("ATTENTION", "attention.cu");
        kernels.putAll(uses("ATTENTION", "attention_backward.cu"));
        CudaDevice card = CudaDevice.open(
                Recorder.large().driver(), 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 12, false));
        CudaAttention attention = new CudaAttention(card);
        for (boolean groups : new boolean[] {false, true}) {
            Variants variants = attention.variants(groups);
            variants.forward().forEach(variant -> compare(variant, kernels));
            variants.backwardQ().forEach(variant -> compare(variant, kernels));
            variants.backwardKv().forEach(variant -> compare(variant, kernels));
        }
    }

    /** Threads, then the template: width, columns if there may be fewer, warps, rows of a tile, and whether by wgmma. */
    private static void compare(Variant variant, Map<String, List<String>> kernels) {
        String name = variant.function().toString();
        List<String> kernel = kernels.get(name);
        assertNotNull(kernel, name);
        int at = name.contains("backward_kv") ? 1 : 0;
        assertEquals(variant.warps() * WARP, number(kernel, 0), name);
        assertEquals(variant.width(), number(kernel, 2), name);
        assertEquals(variant.columns(), number(kernel, 2 + at), name);
        assertEquals(variant.warps(), number(kernel, 3 + at), name);
        assertEquals(variant.tile(), number(kernel, 4 + at), name);
        assertEquals(Boolean.toString(name.endsWith("_groups")), kernel.get(5 + at), name);
    }
}
