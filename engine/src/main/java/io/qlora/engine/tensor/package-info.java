/**
 * Tensors, row-major and without gaps, weights, and the devices they are on: a device is memory and a set of kernels.
 */
package io.qlora.engine.tensor;
