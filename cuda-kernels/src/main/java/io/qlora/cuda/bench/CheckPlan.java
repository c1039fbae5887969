package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.kernels.CudaMatMul;
import io.qlora.cuda.kernels.Route;
import io.qlora.engine.ops.Linear;
import java.util.ArrayList;
import java.util.List;

/** What a card is checked for: every kernel, then products by every route, whatever the table says of these sizes. */
final class CheckPlan {

    /**
     * A kernel that is checked.
     *
     * @param route of products; null for what the table says
     */
    record Item(KernelCase kernel, List<Size> sizes, Route route) {

        /** As in reports, beside what is measured of the same kernel. */
        String name() {
            return kernel.name() + way() + ", check";
        }

        /** How the kernel does it, to be added to its name. */
        String way() {
            return route == null ? "" : " by " + route;
        }

        /** Does something with the products of a card going this way. */
        void during(CudaDevice card, Runnable work) {
            CudaMatMul.of(card).force(route);
            try {
                work.run();
            } finally {
                CudaMatMul.of(card).force(null);
            }
        }
    }

    private CheckPlan() {}

    /** All checks of a card; {@code small} at sizes that an emulated one gets through. */
    static List<Item> of(CudaDevice card, boolean small) {
        List<Size> sizes = small ? List.of(Size.SMALL) : List.of(Size.SMALL, Size.MEDIUM);
        List<Size> wide = List.of(small ? Size.SMALL : Size.WIDE);
        List<Item> items = new ArrayList<>();
        KernelCase.all().forEach(kernel -> items.add(new Item(kernel, sizes, null)));
        for (KernelCase product : ProductCases.ALL) {
            routes(card, product).forEach(route -> items.add(new Item(product, wide, route)));
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
