package io.qlora.lora;

import io.qlora.engine.ops.testing.KernelContracts;
import org.junit.jupiter.api.Test;

class EveryKernelContractTest {

    @Test
    void hasVectorAndScalarKernelsAndACase() {
        KernelContracts.assertComplete(LoraLinear.class);
    }
}
