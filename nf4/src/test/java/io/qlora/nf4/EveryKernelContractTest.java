package io.qlora.nf4;

import io.qlora.engine.ops.testing.KernelContracts;
import org.junit.jupiter.api.Test;

class EveryKernelContractTest {

    @Test
    void hasVectorAndScalarKernelsAndACase() {
        KernelContracts.assertComplete(Nf4Linear.class);
    }
}
