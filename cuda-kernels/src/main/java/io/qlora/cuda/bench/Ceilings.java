package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.KernelCase.Work;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.kernels.CudaMatMul;
import io.qlora.cuda.kernels.Route;
import io.qlora.engine.tensor.DType;
import java.util.ArrayList;
import java.util.List;

/** What kernels are held against: how fast this very card copies, and multiplies large dense matrices. */
final class Ceilings {

    static final double WARM_UP_MILLIS = 500; // a card that was idle takes a while to its full clock

    private final CudaDevice card;
    private final boolean small;
    private final List<Measurement> measured = new ArrayList<>();
    private double tflopS;
    private double gbS;

    Ceilings(CudaDevice card, boolean small) {
        this.card = card;
        this.small = small;
    }

    /** Copies on the card. */
    Measurement copy(EventTimer timer) {
        long bytes = small ? 1 << 20 : 1L << 30;
        CudaDriver driver = card.driver();
        long from = driver.allocate(bytes);
        long to = driver.allocate(bytes);
        try {
            driver.fill(from, (byte) 1, bytes, card.stream());
            EventTimer.Times times =
                    timer.time(List.of(() -> driver.copyOnDevice(to, from, bytes, card.stream())), warmUpMillis());
            Measurement copy = Measurement.of("copy, read and written", times, 0, 2.0 * bytes);
            measured.add(copy);
            gbS = copy.gbS();
            return copy;
        } finally {
            card.finish();
            driver.free(from);
            driver.free(to);
        }
    }

    /** Multiplies through the vendor's library, or by our own kernels where there is none; its name says which. */
    Measurement dense(EventTimer timer) {
        int n = small ? 64 : 8192;
        CudaMatMul products = CudaMatMul.of(card);
        String by = products.vendor() == null ? "ours" : products.vendor();
        products.force(Route.LIBRARY);
        try (Operands operands = new Operands(card, DType.BF16, false)) {
            Work work = ProductCases.square(operands, n);
            EventTimer.Times times = timer.time(List.of(work.run()), warmUpMillis());
            String name = "dense bf16 product, " + n + " cubed, " + by;
            Measurement dense = Measurement.of(name, times, work.flops(), operands.bytes());
            measured.add(dense);
            tflopS = dense.tflopS();
            return dense;
        } finally {
            products.force(null);
        }
    }

    private double warmUpMillis() {
        return small ? 0 : WARM_UP_MILLIS;
    }

    /** 10¹² floating-point operations a second; 0 if it was not measured. */
    double tflopS() {
        return tflopS;
    }

    /** 10⁹ bytes a second; 0 if it was not measured. */
    double gbS() {
        return gbS;
    }

    List<Measurement> measured() {
        return measured;
    }
}
