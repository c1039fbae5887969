/**
 * NVIDIA's cards as a device, found by the engine as a service: a card's memory and stream, how its kernels are launched,
 * and what copies beside them.
 */
package io.qlora.cuda;
