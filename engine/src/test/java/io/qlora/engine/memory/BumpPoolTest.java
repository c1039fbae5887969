package io.qlora.engine.memory;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class BumpPoolTest {

    private static final long CHUNK = 4096;

    private final CpuDevice device = new CpuDevice(1);
    private final BumpPool pool = new BumpPool(device, CHUNK);

    @AfterEach
    void close() {
        pool.close();
        device.close();
    }

    private Tensor bytes(long size) {
        return pool.empty(DType.U8, Shape.of(size));
    }

    @Test
    void whatALargeTensorLeavesOfAPieceIsForSmallOnes() {
        bytes(3000);
        bytes(10_000); // a piece of its own
        bytes(512); // beside the first
        assertEquals(CHUNK + 10_000, pool.capacity());
        bytes(3000);
        assertEquals(2 * CHUNK + 10_000, pool.capacity());
    }

    @Test
    void aMarkIsGoneBackToOnEveryPiece() {
        bytes(1000);
        BumpPool.Mark mark = pool.mark();
        long used = pool.used();
        bytes(10_000);
        bytes(2000);
        bytes(4000);
        pool.release(mark);
        assertEquals(used, pool.used());
        long capacity = pool.capacity();
        bytes(10_000);
        bytes(2000);
        bytes(4000);
        assertEquals(capacity, pool.capacity(), "the same again takes nothing new");
    }

    /** As of micro-batches whose documents are longer and longer: no tensor fits into a piece that was taken before. */
    @Test
    void piecesThatFitNothingAnyMoreAreGivenBack() {
        long most = 0;
        for (long size = 2 * CHUNK; size < 12 * CHUNK; size += CHUNK / 4) {
            BumpPool.Mark empty = pool.mark();
            for (int i = 0; i < 10; i++) {
                Tensor tensor = bytes(size);
                tensor.segment().fill((byte) i);
            }
            most = Math.max(most, pool.capacity());
            pool.release(empty);
            long bound = pool.peak() + Math.max(CHUNK, pool.peak() / 8);
            assertTrue(pool.capacity() <= bound, pool.capacity() + " for " + pool.peak());
        }
        assertTrue(most < 1.5 * pool.peak(), most + " for " + pool.peak());
    }

    @Test
    void whatIsReservedIsEnough() {
        pool.reserve(40_000);
        pool.reserve(1); // has some already
        for (long size : new long[] {9_000, 12_000, 10_000, 3}) {
            BumpPool.Mark empty = pool.mark();
            bytes(size);
            bytes(2 * size);
            pool.release(empty);
        }
        assertEquals(40_000, pool.capacity());
    }

    @Test
    void aMarkAboveTheTopIsRefused() {
        BumpPool.Mark bottom = pool.mark();
        bytes(100);
        BumpPool.Mark top = pool.mark();
        pool.release(bottom);
        assertThrows(IllegalStateException.class, () -> pool.release(top));
    }

    @Test
    void tensorsThatLiveShareNoMemory() {
        SplittableRandom random = new SplittableRandom(1);
        List<Tensor> live = new ArrayList<>();
        List<BumpPool.Mark> marks = new ArrayList<>(); // before each
        for (int step = 0; step < 2000; step++) {
            if (random.nextInt(100) < 55 || live.isEmpty()) {
                marks.add(pool.mark());
                float[] values = new float[1 + random.nextInt(1500)];
                Arrays.fill(values, live.size());
                live.add(pool.empty(DType.F32, Shape.of(values.length)).set(values));
            } else {
                int keep = random.nextInt(live.size());
                pool.release(marks.get(keep));
                live.subList(keep, live.size()).clear();
                marks.subList(keep, marks.size()).clear();
            }
            for (int i = 0; i < live.size(); i++) {
                float[] expected = new float[(int) live.get(i).size()];
                Arrays.fill(expected, i);
                assertArrayEquals(expected, live.get(i).toFloats());
            }
        }
    }
}
