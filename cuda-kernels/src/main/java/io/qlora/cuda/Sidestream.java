package io.qlora.cuda;

import io.qlora.cuda.driver.CudaDriver;
import io.qlora.engine.tensor.HostBuffer;
import io.qlora.engine.tensor.Tensor;

/** A second stream, for copies between the card and pinned memory that run beside the kernels. */
final class Sidestream implements AutoCloseable {

    private final CudaDriver driver;
    private final long main;
    private final long side;
    private final long before; // an event: what the next copy waits for
    private final long done; // an event: the last copy
    private boolean pending; // whether the main stream has not been told to wait for it

    Sidestream(CudaDriver driver, long main) {
        this.driver = driver;
        this.main = main;
        this.side = driver.createStream();
        this.before = driver.createEvent(false);
        this.done = driver.createEvent(false);
    }

    /** Copies after all that the main stream has been given, one of both tensors in pinned memory. */
    void copy(Tensor source, Tensor target) {
        if (source.byteSize() == 0) {
            return;
        }
        driver.recordEvent(before, main);
        driver.waitForEvent(side, before);
        if (source.buffer() instanceof HostBuffer host) {
            driver.copyToDevice(Arguments.address(target), host.segment(), side);
        } else {
            driver.copyToHost(target.segment(), Arguments.address(source), side);
        }
        driver.recordEvent(done, side);
        pending = true;
    }

    /** Has the main stream wait for the copies. */
    void join() {
        if (pending) {
            driver.waitForEvent(main, done);
            pending = false;
        }
    }

    @Override
    public void close() {
        driver.synchronizeStream(side);
        driver.destroyEvent(before);
        driver.destroyEvent(done);
        driver.destroyStream(side);
    }
}
