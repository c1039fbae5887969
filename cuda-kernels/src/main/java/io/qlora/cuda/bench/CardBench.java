package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.KernelCase.Work;
import io.qlora.cuda.driver.Attribute;
import io.qlora.cuda.driver.CudaBinding;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.kernels.CudaMatMul;
import io.qlora.cuda.kernels.Route;
import io.qlora.cuda.kernels.RouteMeasurement;
import io.qlora.cuda.kernels.Warpgroups;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.DType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Tells the truth about a card: checks every kernel against the CPU, then measures, each kernel next to what the card's copy
 * bandwidth and its dense product, measured in the same run, allow.
 */
public final class CardBench {

    /**
     * What to do.
     *
     * @param small at sizes that an emulated card gets through; routes are then not kept, and nothing is held against aims
     */
    public record Options(Selection what, boolean small) {

        /** All in which {@code only} is found; null for everything. */
        public Options(Pattern only, boolean small) {
            this(new Selection(only), small);
        }
    }

    /** What goes with the bench, on its thread. */
    public interface Listener {

        /** Is given the tables line by line, as they come about. */
        void line(String line);

        /**
         * Told before each piece of work, so that what was found is not lost if that never ends.
         *
         * @param soFar what was found until now
         * @param next what is begun, as {@link Selection} names it
         */
        default void next(Report soFar, String next) {}

        /** Told that a long piece of work gets on. */
        default void alive() {}
    }

    /** What a part tells. */
    public interface Findings {

        /** Takes what was found. */
        void add(Figure figure);

        /** Does a piece of the part: what it throws is reported, and the rest goes on. */
        void attempt(String what, Runnable piece);
    }

    /** Something more that is measured on the card: a training step. */
    public interface Part {

        /** As it is selected. */
        String name();

        /**
         * Measures.
         *
         * @param card idle
         * @param small at sizes that an emulated card gets through
         */
        void measure(CudaDevice card, boolean small, Findings findings);
    }

    private static final String ROUTES = "routes";
    private static final String COPY = "copy";
    private static final String DENSE_CEILING = "dense product";
    private static final int MOST_COPIES = 8;
    private static final double LONG = 1e11; // floating-point operations: some hundred microseconds

    private final CudaDevice card;
    private final Options options;
    private final Selection what;
    private final Listener listener;
    private final CudaMatMul products;
    private final List<Check> checks = new ArrayList<>();
    private final Ceilings ceilings;
    private final Map<String, Measurement> kernels = new HashMap<>();
    private final List<Measurement> inOrder = new ArrayList<>();
    private final List<Figure> figures = new ArrayList<>();
    private final Pieces pieces;

    /** A bench of a card. */
    public CardBench(CudaDevice card, Options options, Listener listener) {
        this.card = card;
        this.options = options;
        this.what = options.what;
        this.listener = listener;
        this.products = CudaMatMul.of(card);
        this.ceilings = new Ceilings(card, options.small);
        this.pieces = new Pieces(card, what, listener::line, piece -> listener.next(report(), piece));
    }

    /**
     * Does everything that is wanted, the ceilings before what is measured, and these parts near the end.
     *
     * @throws IllegalArgumentException if there is no such piece as is to be done alone, or gone on after
     */
    public Report run(List<Part> parts) {
        line(card.description());
        line("dense products: " + products.products());
        if (card.hopper()) {
            pieces.attempt("wgmma", this::tryWarpgroups);
        }
        if (what.hasPart(Selection.CHECKS) && pieces.lostAt() == null) {
            check();
        }
        if (what.hasPart(Selection.KERNELS) && pieces.lostAt() == null) {
            measure();
        }
        parts.stream().filter(part -> what.hasPart(part.name())).forEach(this::measure);
        if (what.hasPart(Selection.LAUNCHES) && what.wants(Selection.LAUNCHES)) {
            pieces.heading("launches, on the host");
            pieces.attempt(
                    Selection.LAUNCHES, this::launches); // last: what another binding does to the process is its affair
        }
        pieces.requireKnown();
        pieces.failures().forEach(failure -> line("FAILED " + failure));
        return report();
    }

    /** What is checked and measured below is then what is used instead. */
    private void tryWarpgroups() {
        Warpgroups.of(card).tryAll();
        Warpgroups.of(card).refused().forEach(pieces::fail);
    }

    private Report report() {
        int driver = card.driver().driverVersion();
        return new Report(
                pieces.failures().isEmpty() && checks.stream().allMatch(Check::passed),
                card.description(),
                driver / 1000 + "." + driver % 1000 / 10,
                products.products(),
                List.copyOf(checks),
                List.copyOf(ceilings.measured()),
                List.copyOf(inOrder),
                List.copyOf(figures),
                products.routes(),
                List.copyOf(pieces.failures()),
                pieces.lostAt());
    }

    private Findings findings(Part part) {
        return new Findings() {
            @Override
            public void add(Figure figure) {
                CardBench.this.add(figure);
            }

            @Override
            public void attempt(String what, Runnable piece) {
                pieces.attempt(part.name() + ", " + what, piece);
            }
        };
    }

    private void line(String line) {
        listener.line(line);
    }

    /** What is to be reached is so at full size. */
    private void add(Figure figure) {
        Figure held = options.small ? Figure.of(figure.name(), figure.value(), figure.unit(), figure.note()) : figure;
        figures.add(held);
        line(held.toString());
    }

    private void check() {
        pieces.heading("checks against the CPU");
        try (CpuDevice cpu = new CpuDevice(Runtime.getRuntime().availableProcessors())) {
            Checks against = new Checks(card, cpu);
            for (CheckPlan.Item item : CheckPlan.of(card, options.small)) {
                if (what.wants(item.kernel().name())) {
                    Runnable checks = () -> item.sizes().forEach(size -> keep(against.of(item, size)));
                    pieces.attempt(item.name(), () -> item.during(card, checks));
                }
            }
        }
    }

    /** One line a kernel: the worst check, or those that failed. */
    private void keep(List<Check> found) {
        checks.addAll(found);
        if (found.stream().allMatch(Check::passed)) {
            Check worst = Collections.max(found, Comparator.comparingDouble(Check::used));
            line(worst.toString());
        } else {
            found.stream().filter(check -> !check.passed()).forEach(check -> line(check.toString()));
        }
    }

    private void measure() {
        EventTimer timer = new EventTimer(card);
        ceilings(timer);
        if (what.wants(ROUTES)) {
            pieces.heading(
                    "the fastest routes of matrix products (form, weight, from tokens, route, without a library)");
            pieces.attempt(ROUTES, () -> routes(timer));
        }
        kernels(timer);
        compare(timer);
        if (pieces.lostAt() == null) {
            timer.close();
        }
    }

    /** Of every process that measures kernels, but one that goes on after the card was lost here. */
    private void ceilings(EventTimer timer) {
        pieces.heading("ceilings of this card", Measurement.head());
        List<String> both = List.of(COPY, DENSE_CEILING);
        pieces.attemptAgain(COPY, both, () -> line(ceilings.copy(timer).toString()));
        pieces.attemptAgain(
                DENSE_CEILING, both, () -> line(ceilings.dense(timer).toString()));
    }

    private void kernels(EventTimer timer) {
        pieces.heading("kernels, in bfloat16, at the sizes of " + size(), Measurement.head());
        for (KernelCase kernel : KernelCase.all()) {
            if (kernel.measured() && what.wants(kernel.name())) {
                pieces.attempt(kernel.name(), () -> keep(measure(timer, kernel, kernel.name())));
            }
        }
    }

    private void measure(Part part) {
        if (what.wants(part.name()) && pieces.lostAt() == null) {
            pieces.heading(part.name());
            pieces.run(part.name(), () -> part.measure(card, options.small, findings(part)));
        }
    }

    private Size size() {
        return options.small ? Size.SMALL : Size.LARGE;
    }

    private void keep(Measurement measurement) {
        Measurement held = measurement.against(ceilings.tflopS(), ceilings.gbS());
        kernels.put(held.name(), held);
        inOrder.add(held);
        line(held.toString());
    }

    /** On so many copies of the operands that the cache cannot hold them. */
    private Measurement measure(EventTimer timer, KernelCase kernel, String name) {
        List<Operands> copies = new ArrayList<>();
        List<Runnable> works = new ArrayList<>();
        try {
            Work work;
            double bytes;
            do {
                Operands operands = new Operands(card, DType.BF16, false);
                copies.add(operands);
                work = kernel.preparation().on(operands, size());
                bytes = work.bytes() == 0 ? operands.bytes() : work.bytes();
                works.add(work.run());
            } while (works.size() < Math.min(MOST_COPIES, 3 * cacheBytes() / bytes));
            return Measurement.of(name, timer.time(works, warmUpMillis(work)), work.flops(), bytes);
        } finally {
            copies.forEach(Operands::close);
        }
    }

    /** A card that multiplies draws so much that its clock falls: what is long is timed as it goes on, as the ceiling is. */
    private double warmUpMillis(Work work) {
        return options.small || work.flops() < LONG ? EventTimer.WARM_UP_MILLIS : Ceilings.WARM_UP_MILLIS;
    }

    private double cacheBytes() {
        return card.driver().attribute(card.ordinal(), Attribute.L2_CACHE_BYTES);
    }

    /** The products of one shape by each route against the vendor's, and what the card's ceilings make of the others. */
    private void compare(EventTimer timer) {
        KernelCase dense = ProductCases.ALL.getFirst();
        if (what.wants(ProductCases.DENSE)) {
            pieces.attempt("our tiles", () -> keep(forced(timer, dense, Route.TILES, Aims.TILES)));
            if (products.vendor() != null) {
                pieces.attempt(
                        "library", () -> keep(forced(timer, dense, Route.LIBRARY, Aims.vendor(products.vendor()))));
            }
        }
        line("");
        line("— what is to be reached");
        new Aims(ceilings.tflopS(), ceilings.gbS(), kernels, this::add).compare(products.vendor());
    }

    private Measurement forced(EventTimer timer, KernelCase kernel, Route route, String name) {
        products.force(route);
        try {
            return measure(timer, kernel, name);
        } finally {
            products.force(null);
        }
    }

    private void routes(EventTimer timer) {
        Size size = size();
        int[] tokens = options.small
                ? new int[] {1, 8, 64}
                : new int[] {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
        RouteMeasurement measurement =
                new RouteMeasurement(card, work -> timed(timer, work), size.feedForward(), size.width());
        measurement.measure(!options.small, tokens).lines().forEach(this::line);
    }

    private double timed(EventTimer timer, Runnable work) {
        listener.alive();
        return timer.time(List.of(work)).median();
    }

    private void launches() {
        CudaDriver own = card.driver();
        add(launch(own));
        for (CudaBinding binding : CudaBinding.values()) {
            if (real(own) && !binding.toString().equals(own.binding())) {
                try (CudaDriver other = binding.open()) {
                    other.setCurrent(other.retainPrimaryContext(card.ordinal()));
                    add(launch(other));
                    other.releasePrimaryContext(card.ordinal());
                } catch (CudaException e) {
                    line("through " + binding + ": not measured, " + e.getMessage());
                }
            }
        }
    }

    /** Whether its handles are CUDA's, so that another binding can be used beside it. */
    private static boolean real(CudaDriver driver) {
        for (CudaBinding binding : CudaBinding.values()) {
            if (binding.toString().equals(driver.binding())) {
                return true;
            }
        }
        return false;
    }

    private Figure launch(CudaDriver driver) {
        return Figure.of("a launch through " + driver.binding(), LaunchCost.nanos(driver, card), "ns", "");
    }
}
