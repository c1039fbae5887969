/** CUDA's driver API seen from Java, and the ways to call it. */
package io.qlora.cuda.driver;
