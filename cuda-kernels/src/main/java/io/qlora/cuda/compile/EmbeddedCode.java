package io.qlora.cuda.compile;

import io.qlora.cuda.CodeSource;

/** What {@code nvcc} made when the jar was built: cubins for the usual cards, and PTX for those to come. */
final class EmbeddedCode implements CodeSource {

    /** Whether the build had {@code nvcc}. */
    static boolean available() {
        return KernelSources.UNITS.stream().allMatch(unit -> KernelSources.resource(file(unit)) != null);
    }

    static String file(String unit) {
        return unit + ".fatbin";
    }

    @Override
    public byte[] image(String unit) {
        byte[] image = KernelSources.resource(file(unit));
        if (image == null) {
            throw new IllegalStateException("the jar carries no code of the kernel unit " + unit);
        }
        return image;
    }

    @Override
    public String name() {
        return "embedded";
    }
}
