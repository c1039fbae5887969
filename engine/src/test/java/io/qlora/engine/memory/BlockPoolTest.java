package io.qlora.engine.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class BlockPoolTest {

    @Test
    void tensorsThatLiveNeverOverlapInWhateverOrderOthersDie() {
        try (CpuDevice device = new CpuDevice(1);
                BlockPool pool = new BlockPool(device, 64 << 10)) {
            SplittableRandom random = new SplittableRandom(1);
            List<Tensor> live = new ArrayList<>();
            for (int round = 0; round < 5000; round++) {
                if (live.size() < 40 && random.nextInt(100) < 55) {
                    Tensor tensor = pool.empty(DType.U8, Shape.of(random.nextInt(4096)));
                    live.forEach(other -> requireApart(tensor, other));
                    live.add(tensor);
                } else if (!live.isEmpty()) {
                    pool.free(live.remove(random.nextInt(live.size())));
                }
            }
            live.forEach(pool::free);
            assertEquals(0, pool.used());
            long capacity = pool.capacity();
            pool.free(pool.empty(DType.U8, Shape.of(64 << 10)));
            assertEquals(capacity, pool.capacity(), "a whole chunk is free again");
        }
    }

    private static void requireApart(Tensor a, Tensor b) {
        long from = a.segment().address();
        long other = b.segment().address();
        if (from < other + b.byteSize() && other < from + a.byteSize()) {
            fail("two live tensors share memory: " + a + " and " + b);
        }
    }

    @Test
    void piecesThatFitNothingAnyMoreAreGivenBack() {
        long chunk = 4096;
        try (CpuDevice device = new CpuDevice(1);
                BlockPool pool = new BlockPool(device, chunk)) {
            for (long size = 2 * chunk; size < 12 * chunk; size += chunk / 4) {
                List<Tensor> live = new ArrayList<>();
                for (int i = 0; i < 10; i++) {
                    live.add(pool.empty(DType.U8, Shape.of(size)));
                }
                live.forEach(pool::free);
                long bound = pool.peak() + Math.max(chunk, pool.peak() / 8);
                assertTrue(pool.capacity() <= bound, pool.capacity() + " for " + pool.peak());
            }
        }
    }

    @Test
    void aPieceAsLongAsWhereTheLastTensorEndedIsEnough() {
        long end = shuffle(new SplittableRandom(5), 0);
        assertTrue(end > 0);
        assertEquals(end, shuffle(new SplittableRandom(5), end));
    }

    /** Makes and frees tensors at random; what is taken from the device at the end, if so much is reserved, or where they end. */
    private static long shuffle(SplittableRandom random, long reserved) {
        try (CpuDevice device = new CpuDevice(1);
                BlockPool pool = new BlockPool(device, reserved > 0 ? 1 : 1 << 24)) {
            pool.reserve(reserved);
            List<Tensor> live = new ArrayList<>();
            for (int round = 0; round < 500; round++) {
                if (random.nextInt(100) < 55 || live.isEmpty()) {
                    live.add(pool.empty(DType.U8, Shape.of(random.nextInt(9000))));
                } else {
                    pool.free(live.remove(random.nextInt(live.size())));
                }
            }
            return reserved > 0 ? pool.capacity() : pool.end();
        }
    }

    @Test
    void refusesToFreeATensorTwice() {
        try (CpuDevice device = new CpuDevice(1);
                BlockPool pool = new BlockPool(device, 1024)) {
            Tensor tensor = pool.empty(DType.F32, Shape.of(3));
            pool.free(tensor);
            assertThrows(IllegalStateException.class, () -> pool.free(tensor));
        }
    }
}
