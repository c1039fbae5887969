/**
 * Reverse-mode differentiation: a {@link Tape} records what ops did, and walked back it gives the parameters their
 * gradients.
 */
package io.qlora.engine.autograd;
