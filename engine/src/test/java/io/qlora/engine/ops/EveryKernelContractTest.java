package io.qlora.engine.ops;

import io.qlora.engine.ops.testing.KernelContracts;
import org.junit.jupiter.api.Test;

class EveryKernelContractTest {

    @Test
    void hasVectorAndScalarKernelsAndACase() {
        KernelContracts.assertComplete(Add.class);
    }
}
