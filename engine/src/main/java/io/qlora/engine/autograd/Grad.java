package io.qlora.engine.autograd;

import io.qlora.engine.tensor.Tensor;

/**
 * Where a kernel is to leave a gradient.
 *
 * @param tensor of the shape of what it is the gradient of
 * @param accumulate whether to add to what is there ({@code +=}) or to set it ({@code =}, what is there is undefined)
 */
public record Grad(Tensor tensor, boolean accumulate) {}
