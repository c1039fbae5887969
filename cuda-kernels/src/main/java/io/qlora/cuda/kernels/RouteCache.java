package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.compile.CodeCache;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/** Measured {@link RouteTable}s on disk, one for each card, driver, library and state of this project's own kernels. */
final class RouteCache {

    private static final System.Logger LOG = System.getLogger(RouteCache.class.getName());

    private final CudaDevice device;

    RouteCache(CudaDevice device) {
        this.device = device;
    }

    /** What was measured with this library, or without one if it is null, if that is kept and whole. */
    Optional<RouteTable> read(String library) {
        try {
            return CodeCache.ofUser()
                    .find(key(library))
                    .map(bytes -> RouteTable.parse(
                            new String(bytes, StandardCharsets.UTF_8), "measured on this card by bench gpu"));
        } catch (IllegalArgumentException e) {
            LOG.log(System.Logger.Level.DEBUG, "a kept table of routes is none", e);
            return Optional.empty();
        }
    }

    void write(String library, RouteTable table) {
        CodeCache.ofUser().put(key(library), table.toString().getBytes(StandardCharsets.UTF_8));
    }

    private String key(String library) {
        return String.join(
                "\n",
                "routes",
                device.cardName(),
                Integer.toString(device.driver().driverVersion()),
                library,
                CodeCache.stateOfKernels("few_rows", "matmul", "matmul_wgmma", "nf4"));
    }
}
