/** NF4 on a processor: codes are decoded into the panels of the one matrix product, never into a whole matrix. */
package io.qlora.nf4.cpu;
