/** 4-bit NormalFloat as bitsandbytes has it, to the bit: its codec, and the op of a frozen linear in it. */
package io.qlora.nf4;
