package io.qlora.cuda;

import io.qlora.cuda.driver.CudaBinding;
import io.qlora.cuda.driver.CudaProbe;
import io.qlora.cuda.kernels.Warpgroups;
import io.qlora.engine.tensor.Accelerator;
import io.qlora.engine.tensor.Device;
import java.util.Arrays;
import java.util.List;

/** What the rest of the program finds of this module: NVIDIA's cards. Nothing is looked for before somebody asks. */
public final class CudaAccelerator implements Accelerator {

    /** Cards do not come and go while a process runs. */
    private static final class Found {
        static final CudaProbe PROBE = CudaProbe.run();
    }

    /** As the service loader makes it. */
    public CudaAccelerator() {}

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public String describe() {
        return Found.PROBE.toString();
    }

    @Override
    public String summary() {
        return Found.PROBE.summary();
    }

    @Override
    public List<String> bindings() {
        return Arrays.stream(CudaBinding.values()).map(CudaBinding::toString).toList();
    }

    @Override
    public Device open(int ordinal, String binding) {
        CudaDevice device = CudaDevice.open(CudaBinding.of(binding), ordinal);
        try {
            Warpgroups.of(device).tryAll();
        } catch (RuntimeException e) {
            closeAfter(device, e);
            throw e;
        }
        return device;
    }

    private static void closeAfter(CudaDevice device, RuntimeException failure) {
        try {
            device.close();
        } catch (RuntimeException e) { // after an error in a kernel nothing can be freed
            failure.addSuppressed(e);
        }
    }
}
