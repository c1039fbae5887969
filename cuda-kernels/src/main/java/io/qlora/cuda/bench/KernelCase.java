package io.qlora.cuda.bench;

import java.util.List;
import java.util.stream.Stream;

/**
 * One kernel of a contract: from this one description it is checked against the CPU's and measured.
 *
 * @param name as it is selected and printed
 * @param contract what a backend provides
 * @param precision how close the card has to come
 * @param measured whether it has a part in a training step or in generating, and so a time that matters
 * @param preparation makes operands
 */
record KernelCase(String name, Class<?> contract, Precision precision, boolean measured, Preparation preparation) {

    /** How far a result may be from the CPU's, as a share of the tensor's largest magnitude. */
    enum Precision {
        /** Not at all. */
        EXACT(0, 0),
        /** Sums in float32 whose order differs, or elements rounded to bfloat16. */
        ELEMENTS(5e-6, 0x1p-6),
        /** Products of operands that are rounded to bfloat16. */
        PRODUCTS(0x1p-7, 0x1p-6);

        private final double float32;
        private final double bfloat16;

        Precision(double float32, double bfloat16) {
            this.float32 = float32;
            this.bfloat16 = bfloat16;
        }

        /** With activations in float32, or in bfloat16. */
        double of(boolean half) {
            return half ? bfloat16 : float32;
        }
    }

    /** Makes operands and what runs on them. */
    @FunctionalInterface
    interface Preparation {
        Work on(Operands operands, Size size);
    }

    /**
     * A kernel with its operands.
     *
     * @param run calls it
     * @param flops floating-point operations of its matrix products
     * @param bytes that have to be read and written; 0 for every operand once
     */
    record Work(Runnable run, double flops, double bytes) {

        /** Of a kernel that is bound by memory. */
        static Work of(Runnable run) {
            return new Work(run, 0, 0);
        }

        /** Of one that reads and writes every operand once. */
        static Work of(Runnable run, double flops) {
            return new Work(run, flops, 0);
        }
    }

    /** One that is measured, too. */
    static KernelCase of(String name, Class<?> contract, Precision precision, Preparation preparation) {
        return new KernelCase(name, contract, precision, true, preparation);
    }

    /** One that is checked and no more. */
    static KernelCase checked(String name, Class<?> contract, Precision precision, Preparation preparation) {
        return new KernelCase(name, contract, precision, false, preparation);
    }

    /** Every kernel of every contract. */
    static List<KernelCase> all() {
        return Stream.of(
                        ProductCases.ALL,
                        ProductCases.ROWS,
                        ProductCases.UNUSUAL,
                        Nf4Cases.ALL,
                        AttentionCases.ALL,
                        ElementCases.ALL,
                        OptimizerCases.ALL)
                .flatMap(List::stream)
                .distinct()
                .toList();
    }
}
