package io.qlora.lora;

import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;

/** Which linears of a model get an adapter, in PEFT's three ways of saying so. */
public sealed interface TargetModules {

    /** What PEFT calls {@link AllLinear}. */
    String ALL_LINEAR = "all-linear";

    /** Whether the module of this full name is meant, e.g. {@code model.layers.3.self_attn.q_proj}. */
    boolean matches(String module);

    /**
     * Modules whose name is one of these, or ends in a dot and one of these. Their order means nothing.
     *
     * @param names e.g. {@code q_proj}, {@code v_proj}
     */
    record Names(List<String> names) implements TargetModules {

        public Names {
            names = names.stream().distinct().sorted().toList();
            if (names.isEmpty() || names.contains("")) {
                throw new IllegalArgumentException("target_modules should name at least one module, found " + names);
            }
        }

        @Override
        public boolean matches(String module) {
            return names.contains(module) || names.stream().anyMatch(name -> module.endsWith("." + name));
        }
    }

    /**
     * Modules whose full name is matched, from its first to its last character, by a regular expression of Python's dialect.
     *
     * @param pattern e.g. {@code .*\.layers\.[0-3]\..*_proj}
     */
    record Regex(String pattern) implements TargetModules {

        public Regex {
            Patterns.whole("target_modules", pattern);
        }

        @Override
        public boolean matches(String module) {
            return Patterns.whole("target_modules", pattern).matcher(module).matches();
        }
    }

    /** Every linear but the output head. */
    record AllLinear() implements TargetModules {
        @Override
        public boolean matches(String module) {
            return !new Names(List.of("lm_head")).matches(module);
        }
    }

    /** Modules of these names. */
    static TargetModules of(String... names) {
        return new Names(Arrays.asList(names));
    }

    /**
     * As a person would write it: {@code all-linear}; names separated by commas; or, as soon as there is a character that is
     * in no name, a regular expression.
     *
     * @throws IllegalArgumentException if it is none of these
     */
    static TargetModules parse(String text) {
        if (text.equalsIgnoreCase(ALL_LINEAR)) {
            return new AllLinear();
        }
        boolean names = Pattern.matches("[\\w.\\-, ]*", text);
        return names ? of(text.strip().split("\\s*,\\s*")) : new Regex(text);
    }
}
