/**
 * The processor as a device, and its kernels in vectors: their tasks are shared out to threads in a fixed order, so
 * that the same number of threads gives the same bits.
 */
package io.qlora.engine.cpu;
