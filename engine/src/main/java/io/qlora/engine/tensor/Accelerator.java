package io.qlora.engine.tensor;

import java.util.List;

/** A kind of device that a module of its own brings beside the processor; found by {@link java.util.ServiceLoader}. */
public interface Accelerator {

    /** As in {@code --device}: {@code cuda}. */
    String name();

    /** In one line: what of it this machine has, or why none of it can be used. Never throws. */
    String describe();

    /** {@link #describe} in a few words, without details and ways out. Never throws. */
    String summary();

    /** The ways of calling it, the default first: {@code panama}, {@code jcuda}. */
    List<String> bindings();

    /**
     * Opens a device for the calling thread, which alone may use it.
     *
     * @param ordinal which of the machine's, from 0
     * @param binding one of {@link #bindings}
     * @throws IllegalStateException in one sentence, if it cannot be used
     */
    Device open(int ordinal, String binding);
}
