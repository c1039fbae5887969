package io.qlora.engine.nn;

/**
 * What the randomness of an optimizer step is keyed by, so that recomputing, resuming or splitting it differently draws
 * the same numbers.
 *
 * @param seed of the run
 * @param step the optimizer step, from 1
 */
public record StepKey(long seed, long step) {}
