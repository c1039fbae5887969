/**
 * A scalar twin of every kernel, in plain Java: the oracle of tests, and what computes where the Vector API is missing.
 */
package io.qlora.engine.scalar;
