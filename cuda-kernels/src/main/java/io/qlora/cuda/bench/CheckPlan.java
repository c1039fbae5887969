package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.kernels.CudaMatMul;
import io.qlora.cuda.kernels.Route;
import io.qlora.cuda.kernels.Warpgroups;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.Linear;
import java.util.ArrayList;
import java.util.List;

/**
 * What a card is checked for: every kernel, then products by every route, whatever the table says of these sizes, and what a
 * Hopper card does by {@code wgmma} once more by the kernels that other cards use.
 */
final class CheckPlan {

    /**
     * A kernel that is checked.
     *
     * @param route of products; null for what the table says
     * @param mmaSync whether {@code wgmma} is left out
     */
    record Item(KernelCase kernel, List<Size> sizes, Route route, boolean mmaSync) {

        /** As in reports, beside what is measured of the same kernel. */
        String name() {
            return kernel.name() + way() + ", check";
        }

        /** How the kernel does it, to be added to its name. */
        String way() {
            return (route == null ? "" : " by " + route) + (mmaSync ? " by mma.sync" : "");
        }

        /** Does something with the kernels of a card going this way. */
        void during(CudaDevice card, Runnable work) {
            CudaMatMul.of(card).force(route);
            Warpgroups.of(card).suspend(mmaSync);
            try {
                work.run();
            } finally {
                CudaMatMul.of(card).force(null);
                Warpgroups.of(card).suspend(false);
            }
        }
    }

    private CheckPlan() {}

    /** All checks of a card; {@code small} at sizes that an emulated one gets through. */
    static List<Item> of(CudaDevice card, boolean small) {
        List<Size> sizes = small ? List.of(Size.SMALL) : List.of(Size.SMALL, Size.MEDIUM);
        List<Size> wide = List.of(small ? Size.SMALL : Size.WIDE);
        List<Item> items = new ArrayList<>();
        KernelCase.all().forEach(kernel -> items.add(new Item(kernel, sizes, null, false)));
        for (KernelCase product : ProductCases.ALL) {
            routes(card, product).forEach(route -> items.add(new Item(product, wide, route, false)));
        }
        ProductCases.ROWS.forEach(row -> items.add(new Item(row, wide, Route.FEW_ROWS, false)));
        if (card.hopper()) { // with wgmma or without: a process that goes on after another has the same pieces
            ProductCases.ALL.forEach(product -> items.add(new Item(product, wide, Route.TILES, true)));
            KernelCase.all().stream()
                    .filter(kernel -> kernel.contract() == Attention.Kernel.class)
                    .forEach(kernel -> items.add(new Item(kernel, sizes, null, true)));
        }
        return items;
    }

    /** For many rows. */
    private static List<Route> routes(CudaDevice card, KernelCase product) {
        List<Route> routes = new ArrayList<>(List.of(Route.TILES));
        if (product.contract() != Linear.Kernel.class) {
            routes.add(Route.DECODED);
        }
        if (CudaMatMul.of(card).vendor() != null) {
            routes.add(Route.LIBRARY);
        }
        return routes;
    }
}
