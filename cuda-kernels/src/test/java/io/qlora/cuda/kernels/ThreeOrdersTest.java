package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.emulation.Recorder;
import io.qlora.cuda.emulation.WatchedDriver;
import io.qlora.engine.ops.testing.OnCard;
import io.qlora.engine.tensor.DType;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What the other tests here run in three orders of threads is every kernel: seen by what they launch, not by running it. */
@ExtendWith(WgmmaUntried.class)
class ThreeOrdersTest {

    private static final int AMPERE = 8;
    private static final int HOPPER = 9;

    private final Set<String> never = new TreeSet<>(EmulatedLibrary.kernels());

    /** A card on which nothing is computed. */
    private static Recorder card(int computeMajor) {
        EmulatedDriver real = new EmulatedDriver(EmulatedLibrary.load(), 8L << 30, 0, computeMajor);
        CudaDriver idle = WatchedDriver.of(real, (method, arguments) -> method.equals("launch") ? true : null);
        return Recorder.of(idle);
    }

    private static CudaDevice device(Recorder card, DType activations) {
        CudaDevice.Options options = new CudaDevice.Options(1 << 16, false).withActivations(activations);
        return CudaDevice.open(card.driver(), 0, EmulatedDriver.code(), options);
    }

    @Test
    void everyKernelIsRunInThreeOrders() {
        Recorder ampere = card(AMPERE);
        CudaDevice full = device(ampere, DType.F32);
        CudaDevice half = device(ampere, DType.BF16);
        EmulatedOpsTest.cases().forEach(test -> OnCard.run(test, full));
        EmulatedOpsTest.inAllOrders().forEach(test -> OnCard.run(test, half));
        ExactTest.run(full);
        OptimizerTest.run(full);
        ProductCase.all().forEach(product -> product.launch(full));
        AttentionKernelsTest.cases().forEach(test -> OnCard.run(test, new ApartDevice(full, DType.BF16)));
        Recorder hopper = card(HOPPER);
        CudaDevice warpgroups = device(hopper, DType.BF16);
        ProductCase.large().forEach(product -> product.launch(warpgroups));
        AttentionKernelsTest.cases().forEach(test -> OnCard.run(test, new ApartDevice(warpgroups, DType.BF16)));
        never.removeAll(ampere.launched());
        never.removeAll(hopper.launched());
        assertEquals(Set.of(), never, "kernels that are run in no or one order only");
    }
}
