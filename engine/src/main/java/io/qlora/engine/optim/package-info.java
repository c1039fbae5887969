/** The optimizer: AdamW, the norm of all gradients, and the learning rate over a run. */
package io.qlora.engine.optim;
