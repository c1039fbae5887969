package io.qlora.cuda.kernels;

import io.qlora.cuda.kernels.CudaMatMul.Form;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/**
 * Which route a product takes, by its form, the kind of its weight and the number of tokens. A table is text, a rule a line:
 *
 * <pre>
 *   nt nf4 512 library tiles
 * </pre>
 *
 * from 512 tokens on, x · Wᵀ with W in NF4 goes through the library, and by our tiles where there is none.
 */
final class RouteTable {

    /** What a product's weight is. */
    enum Kind {
        /** In 4 bits. */
        NF4,
        /** Dense, neither of its extents small. */
        DENSE,
        /** An adapter's: R rows or columns. */
        NARROW;

        /** The widest that is narrow. */
        static final int MOST = 64;
    }

    /** A rule: from this many tokens on, this route, or the other one if there is no library. */
    record Rule(Form form, Kind kind, int tokens, Route route, Route otherwise) {

        @Override
        public String toString() {
            return String.join(
                    " ", lower(form), lower(kind), Integer.toString(tokens), route.toString(), otherwise.toString());
        }
    }

    private record Key(Form form, Kind kind) {}

    /** Not yet measured on any card: what the sizes of caches and the counts of operations suggest. */
    static final RouteTable UNMEASURED = parse("""
            nt nf4 1 few-rows few-rows
            nt nf4 9 tiles tiles
            nt nf4 512 library tiles
            nn nf4 1 tiles tiles
            nn nf4 512 library tiles
            nt dense 1 few-rows few-rows
            nt dense 9 tiles tiles
            nt dense 64 library tiles
            nn dense 1 tiles tiles
            nn dense 64 library tiles
            tn dense 1 tiles tiles
            tn dense 64 library tiles
            nt narrow 1 few-rows few-rows
            nt narrow 9 tiles tiles
            nt narrow 512 library tiles
            nn narrow 1 tiles tiles
            nn narrow 512 library tiles
            tn narrow 1 tiles tiles
            tn narrow 512 library tiles
            """, "defaults, not yet measured on a card");

    private final Map<Key, TreeMap<Integer, Rule>> rules = new HashMap<>();
    private final String origin;

    private RouteTable(List<Rule> rules, String origin) {
        this.origin = origin;
        for (Rule rule : rules) {
            this.rules
                    .computeIfAbsent(new Key(rule.form, rule.kind), key -> new TreeMap<>())
                    .put(rule.tokens, rule);
        }
        for (Form form : Form.values()) {
            for (Kind kind : Kind.values()) {
                require((form == Form.TN && kind == Kind.NF4) || from(form, kind, 1) != null, form + " of " + kind);
            }
        }
    }

    /** A table of these rules. */
    static RouteTable of(List<Rule> rules, String origin) {
        return new RouteTable(rules, origin);
    }

    /**
     * A table from its text.
     *
     * @param origin where it comes from, in words
     * @throws IllegalArgumentException if a line is no rule, or a kind of product has none
     */
    static RouteTable parse(String text, String origin) {
        List<Rule> rules = new ArrayList<>();
        text.lines().forEach(line -> rules.add(rule(line)));
        return new RouteTable(rules, origin);
    }

    private static Rule rule(String line) {
        String[] words = line.split(" ", -1);
        require(words.length == 5, line);
        Rule rule = new Rule(
                Form.valueOf(words[0].toUpperCase(Locale.ROOT)),
                Kind.valueOf(words[1].toUpperCase(Locale.ROOT)),
                Integer.parseInt(words[2]),
                route(words[3]),
                route(words[4]));
        boolean fewRows = rule.route == Route.FEW_ROWS || rule.otherwise == Route.FEW_ROWS;
        require(!fewRows || rule.form == Form.NT, line);
        require(rule.tokens > 0 && rule.otherwise != Route.LIBRARY, line);
        return rule;
    }

    /** The route of this name. */
    static Route route(String name) {
        return Arrays.stream(Route.values())
                .filter(route -> route.toString().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "a route is one of " + Arrays.toString(Route.values()) + ", found " + name));
    }

    private static void require(boolean condition, String what) {
        if (!condition) {
            throw new IllegalArgumentException("no route: " + what);
        }
    }

    private Rule from(Form form, Kind kind, int tokens) {
        TreeMap<Integer, Rule> of = rules.get(new Key(form, kind));
        Map.Entry<Integer, Rule> rule = of == null ? null : of.floorEntry(tokens);
        return rule == null ? null : rule.getValue();
    }

    /** The route of a product of at least one token. */
    Route route(Form form, Kind kind, int tokens, boolean library) {
        Rule rule = from(form, kind, tokens);
        return library ? rule.route : rule.otherwise;
    }

    /** Where it comes from, in words. */
    String origin() {
        return origin;
    }

    /** The rules, a line each. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        for (Kind kind : Kind.values()) {
            for (Form form : Form.values()) {
                rules.getOrDefault(new Key(form, kind), new TreeMap<>())
                        .values()
                        .forEach(rule -> text.append(rule).append('\n'));
            }
        }
        return text.toString();
    }

    private static String lower(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }
}
