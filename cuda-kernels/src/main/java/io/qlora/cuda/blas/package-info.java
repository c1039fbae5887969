/** Dense products by NVIDIA's own library, where there is one. */
package io.qlora.cuda.blas;
