package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Term;
import io.qlora.cuda.kernels.RouteTable.Kind;
import io.qlora.cuda.kernels.RouteTable.Rule;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;

/** Measures every route of every kind of product at many numbers of tokens, and makes the table of the fastest. */
public final class RouteMeasurement {

    private static final int RANK = 16;
    private static final int COPIES =
            6; // of a weight, taken in turn: a step's other weights drive it from the cache, too

    private final CudaDevice card;
    private final CudaMatMul product;
    private final ToDoubleFunction<Runnable> micros;
    private final int out;
    private final int in;

    /**
     * Measurements on a card.
     *
     * @param micros how long something takes there, microseconds
     * @param out rows of the weight
     * @param in columns of the weight
     */
    public RouteMeasurement(CudaDevice card, ToDoubleFunction<Runnable> micros, int out, int in) {
        this.card = card;
        this.product = CudaMatMul.of(card);
        this.micros = micros;
        this.out = out;
        this.in = in;
    }

    /**
     * Measures, and has the card use the result from now on.
     *
     * @param keep whether later processes are to use it, too
     * @param tokens rising, the first of them 1
     * @return the table, a rule a line
     */
    public String measure(boolean keep, int... tokens) {
        List<Rule> rules = new ArrayList<>();
        for (Kind kind : Kind.values()) {
            for (Form form : Form.values()) {
                if (form != Form.TN || kind != Kind.NF4) {
                    measure(form, kind, tokens, rules);
                }
            }
        }
        RouteTable table = RouteTable.of(rules, "measured on this card just now");
        product.use(table, keep);
        return table.toString();
    }

    private void measure(Form form, Kind kind, int[] tokens, List<Rule> rules) {
        Rule last = null;
        try (ModelMemory weights = new ModelMemory(card)) {
            List<Factor> copies = new ArrayList<>();
            for (int i = 0; form != Form.TN && i < (kind == Kind.NF4 ? COPIES : 1); i++) {
                copies.add(weight(form, kind, weights));
            }
            for (int count : tokens) {
                try (ModelMemory memory = new ModelMemory(card)) {
                    Runnable work = work(form, kind, count, copies, memory);
                    Rule rule = fastest(form, kind, count, work);
                    if (last == null || last.route() != rule.route() || last.otherwise() != rule.otherwise()) {
                        rules.add(rule);
                    }
                    last = rule;
                }
            }
        } finally {
            product.force(null);
        }
    }

    private Rule fastest(Form form, Kind kind, int tokens, Runnable work) {
        Route best = Route.TILES;
        Route otherwise = Route.TILES;
        double least = micros(Route.TILES, work);
        double leastOfOurs = least;
        for (Route route : candidates(form, kind, tokens)) {
            double time = micros(route, work);
            if (time < leastOfOurs && route != Route.LIBRARY) {
                leastOfOurs = time;
                otherwise = route;
            }
            if (time < least) {
                least = time;
                best = route;
            }
        }
        return new Rule(form, kind, tokens, best, otherwise);
    }

    private List<Route> candidates(Form form, Kind kind, int tokens) {
        List<Route> routes = new ArrayList<>();
        if (kind == Kind.NF4) {
            routes.add(Route.DECODED);
        }
        if (form == Form.NT && tokens <= FewRows.MOST) {
            routes.add(Route.FEW_ROWS);
        }
        if (product.vendor() != null) {
            routes.add(Route.LIBRARY);
        }
        return routes;
    }

    private double micros(Route route, Runnable work) {
        product.force(route);
        return micros.applyAsDouble(work);
    }

    /** Of the linear itself, or an adapter's: A [R, in] forward, B [out, R] backward. */
    private Factor weight(Form form, Kind kind, ModelMemory memory) {
        return switch (kind) {
            case NF4 -> {
                try (ModelMemory passing = new ModelMemory(card)) {
                    Nf4Weight weight = Nf4.quantize(half(passing, out, in), true, memory, card);
                    yield Factor.of(weight);
                }
            }
            case DENSE -> Factor.of(half(memory, out, in));
            case NARROW -> Factor.of(form == Form.NT ? full(memory, RANK, in) : full(memory, out, RANK));
        };
    }

    private Runnable work(Form form, Kind kind, int tokens, List<Factor> copies, ModelMemory memory) {
        if (form == Form.TN) { // a weight's gradient
            int rows = kind == Kind.NARROW ? RANK : out;
            Factor dy = Factor.of(half(memory, tokens, rows));
            Factor x = Factor.of(half(memory, tokens, in));
            Grad dw = new Grad(memory.zeros(DType.F32, rows, in), true);
            return () -> product.multiply(form, dy, x, 1, dw);
        }
        int depth =
                form == Form.NT ? copies.getFirst().cols() : copies.getFirst().rows();
        int width =
                form == Form.NT ? copies.getFirst().rows() : copies.getFirst().cols();
        Factor x = Factor.of(half(memory, tokens, depth));
        Grad y = new Grad(memory.empty(DType.BF16, tokens, width), false);
        int[] turn = new int[1];
        Supplier<Factor> next = () -> copies.get(turn[0]++ % copies.size());
        if (kind != Kind.NF4) {
            return () -> product.multiply(form, x, next.get(), 1, y);
        }
        // with an adapter, as in training: our tiles take it along, the library makes another product of it
        Factor u = Factor.of(half(memory, tokens, RANK));
        Factor adapter = Factor.of(form == Form.NT ? full(memory, width, RANK) : full(memory, RANK, width));
        return () -> product.multiply(form, new Term(x, next.get()), new Term(u, adapter), 1, y);
    }

    /** What a product takes does not depend on the numbers, but what the card draws, and so its clock, does. */
    private Tensor half(ModelMemory memory, int rows, int cols) {
        return Uniform.fill(memory.empty(DType.BF16, rows, cols), 1, 1, rows);
    }

    private Tensor full(ModelMemory memory, int rows, int cols) {
        return Uniform.fill(memory.empty(DType.F32, rows, cols), 1, 1, rows);
    }
}
