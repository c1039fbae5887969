package io.qlora.cuda.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.blas.Blas;
import io.qlora.cuda.blas.StubBlas;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.kernels.CudaMatMul;
import io.qlora.cuda.kernels.Route;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import org.junit.jupiter.api.Test;

class LaunchWaitsTest {

    /** What a library computes is no waiting, though its kernels are none that the driver was asked to launch. */
    @Test
    void whatTheCardDoesForALibraryOrACopyIsSeenAsWork() {
        StubBlas.install(Blas.CUBLASLT);
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 28, 0);
        CudaDevice.Options options = new CudaDevice.Options(1 << 16, true, Blas.CUBLASLT);
        try (CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), options);
                LaunchWaits waits = new LaunchWaits(card);
                ModelMemory memory = new ModelMemory(waits.card())) {
            Tensor x = memory.zeros(DType.BF16, 16, 32);
            Tensor w = memory.zeros(DType.BF16, 24, 32);
            Tensor y = memory.empty(DType.BF16, 16, 24);
            Linear.Kernel linear = waits.card().kernel(Linear.Kernel.class);
            CudaMatMul.of(waits.card()).force(Route.LIBRARY);
            waits.start();
            linear.forward(x, w, y); // one product of the library's
            waits.card().copy(x, x);
            waits.card().zero(y);
            CudaMatMul.of(waits.card()).force(Route.TILES);
            linear.forward(x, w, y);
            waits.stop();
            assertEquals(4, waits.launches());
        }
    }
}
