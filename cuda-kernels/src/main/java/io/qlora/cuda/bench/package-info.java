/** Whether a card's kernels are right, and how fast they are next to what the card allows. */
package io.qlora.cuda.bench;
