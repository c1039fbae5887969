/**
 * The ops, each on a page of its own: formula, derivative, checks, what is saved for the way back, and the contract of
 * its kernels.
 */
package io.qlora.engine.ops;
