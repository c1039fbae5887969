package io.qlora.engine.tensor;

/** A kind of device that a module of its own brings beside the processor; found by {@link java.util.ServiceLoader}. */
public interface Accelerator {

    /** In one line: what of it this machine has, or why none of it can be used. Never throws. */
    String describe();
}
