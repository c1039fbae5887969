package io.qlora.cuda.bench;

import java.util.Set;
import java.util.regex.Pattern;

/**
 * What of a bench is done.
 *
 * @param only names of kernels and parts in which this is found; null for all
 * @param parts {@link #CHECKS}, {@link #KERNELS}, {@link #LAUNCHES} and the names of other parts; null for all
 * @param after pieces up to this one are left out: another process has done them, or was lost in it; null for none
 * @param alone the one piece that is done; null for all
 */
public record Selection(Pattern only, Set<String> parts, String after, String alone) {

    /** The checks against the CPU. */
    public static final String CHECKS = "checks";

    /** Measuring routes and kernels, the ceilings first. */
    public static final String KERNELS = "kernels";

    /** What a launch costs the host. */
    public static final String LAUNCHES = "launches";

    /** All in which {@code only} is found; null for everything. */
    public Selection(Pattern only) {
        this(only, null, null, null);
    }

    /** Whether anything of a part is done. */
    boolean hasPart(String part) {
        return parts == null || parts.contains(part);
    }

    /** Whether a kernel or a part of this name is wanted. */
    boolean wants(String name) {
        return only == null || only.matcher(name).find();
    }
}
