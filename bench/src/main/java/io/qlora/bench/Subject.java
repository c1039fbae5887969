package io.qlora.bench;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.trainer.profile.KernelWork;

/**
 * One thing that is measured.
 *
 * @param name as it is selected and printed
 * @param peer the name of what it is held against, or null
 * @param brief whether it is in the short table
 * @param preparation makes it ready, in the process that measures it
 */
record Subject(String name, String peer, boolean brief, Preparation preparation) {

    /** One in the short table, held against nothing but the bounds. */
    Subject(String name, Preparation preparation) {
        this(name, null, true, preparation);
    }

    /** Allocates operands and fills them. */
    @FunctionalInterface
    interface Preparation {
        Prepared on(CpuDevice device);
    }

    /** Ready to be run again and again. */
    interface Prepared extends AutoCloseable {

        void run();

        /** Of one run. */
        KernelWork work();

        @Override
        default void close() {}
    }
}
