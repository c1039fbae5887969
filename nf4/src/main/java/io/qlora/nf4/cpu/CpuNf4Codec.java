package io.qlora.nf4.cpu;

import io.qlora.engine.cpu.Widen;
import io.qlora.engine.cpu.Workers;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** {@link Nf4.Codec} on the processor: some blocks at a time on every core, in vectors where there are any. */
final class CpuNf4Codec implements Nf4.Codec {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
    private static final int BLOCK = Nf4Weight.BLOCK;
    private static final int GROUP = Nf4Weight.NESTED_BLOCK;
    private static final int BLOCKS = 64; // a task
    private static final int ELEMENTS = BLOCKS * BLOCK; // a task's: 16 KiB of float32
    private static final int ZERO = 7; // the code of 0, which pads an odd number of elements
    private static final double[] MAP_MIDPOINTS = mapMidpoints();
    private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);

    /** A thread's own memory. */
    private static final class Scratch {
        final float[] elements = new float[ELEMENTS];
        final int[] codes = new int[ELEMENTS];
        final byte[] packed = new byte[ELEMENTS / 2];
        final float[] absmax = new float[BLOCKS];
        final int[] words = new int[Nf4Reader.words(ELEMENTS)];
    }

    private final Workers workers;
    private final boolean vectors;

    CpuNf4Codec(Workers workers, boolean vectors) {
        this.workers = workers;
        this.vectors = vectors;
    }

    private static double[] mapMidpoints() {
        float[] map = Nf4.dynamicMap();
        double[] midpoints = new double[map.length - 1];
        for (int i = 0; i < midpoints.length; i++) {
            midpoints[i] = ((double) map[i] + map[i + 1]) / 2; // exact
        }
        return midpoints;
    }

    @Override
    public void quantize(Tensor source, Tensor codes, Tensor absmax) {
        long n = source.size();
        MemorySegment codesOut = codes.segment();
        MemorySegment absmaxOut = absmax.segment();
        workers.run(tasks(n, ELEMENTS), task -> {
            Scratch s = SCRATCH.get();
            long from = (long) task * ELEMENTS;
            int count = (int) Math.min(ELEMENTS, n - from);
            widen(source, from, count, s.elements);
            encode(s, count);
            pack(s.codes, vectors ? VectorBlockEncoder.pack(s.codes, count, s.packed) : 0, count, s.packed);
            MemorySegment.copy(s.packed, 0, codesOut, BYTE, from / 2, (count + 1) / 2);
            MemorySegment.copy(s.absmax, 0, absmaxOut, FLOAT, from / BLOCK * 4, Math.ceilDiv(count, BLOCK));
        });
    }

    private void widen(Tensor source, long from, int count, float[] elements) {
        if (vectors) {
            Widen.copy(source.dtype(), source.segment(), from, count, elements, 0);
            return;
        }
        for (int i = 0; i < count; i++) {
            elements[i] = Floats.get(source, from + i);
        }
    }

    private void encode(Scratch s, int count) {
        int whole = 0;
        if (vectors) {
            whole = count / BLOCK;
            VectorBlockEncoder.encode(s.elements, whole, s.codes, s.absmax);
        }
        BlockEncoder.encode(s.elements, whole * BLOCK, count, s.codes, s.absmax);
    }

    /** Two codes a byte, from code {@code from} on, which is even. */
    private static void pack(int[] codes, int from, int count, byte[] packed) {
        for (int i = from / 2; i < count / 2; i++) {
            packed[i] = (byte) (codes[2 * i] << 4 | codes[2 * i + 1]);
        }
        if (count % 2 == 1) {
            packed[count / 2] = (byte) (codes[count - 1] << 4 | ZERO);
        }
    }

    @Override
    public void quantizeAbsmax(Tensor absmax, float offset, Tensor codes, Tensor absmax2) {
        long blocks = absmax.size();
        MemorySegment source = absmax.segment();
        MemorySegment codesOut = codes.segment();
        MemorySegment absmax2Out = absmax2.segment();
        workers.run(tasks(blocks, GROUP), task -> {
            long from = (long) task * GROUP;
            int count = (int) Math.min(GROUP, blocks - from);
            float[] centred = source.asSlice(4 * from, 4L * count).toArray(FLOAT);
            float largest = 0;
            for (int i = 0; i < count; i++) {
                centred[i] -= offset;
                largest = Math.max(largest, Math.abs(centred[i]));
            }
            absmax2Out.setAtIndex(FLOAT, task, largest);
            for (int i = 0; i < count; i++) {
                codesOut.set(BYTE, from + i, (byte) nearest(centred[i] / BlockEncoder.divisor(largest)));
            }
        });
    }

    /** The entry of the dynamic map nearest to {@code x}, of two the lower: as many midpoints are below it. */
    private static int nearest(float x) {
        int code = 0;
        for (int bit = (MAP_MIDPOINTS.length + 1) / 2; bit > 0; bit /= 2) {
            code += x <= MAP_MIDPOINTS[code + bit - 1] ? 0 : bit;
        }
        return code;
    }

    @Override
    public void dequantize(Nf4Weight weight, Tensor values) {
        Nf4Reader reader = new Nf4Reader(weight);
        long n = values.size();
        MemorySegment valuesOut = values.segment();
        workers.run(tasks(n, ELEMENTS), task -> {
            Scratch s = SCRATCH.get();
            long from = (long) task * ELEMENTS;
            int count = (int) Math.min(ELEMENTS, n - from);
            if (vectors) {
                Nf4Decoder.decode(reader, from, count, s.elements, 0, s.words);
            } else {
                reader.decode(from, count, s.elements, 0);
            }
            MemorySegment.copy(s.elements, 0, valuesOut, FLOAT, 4 * from, count);
        });
    }

    private static int tasks(long elements, int each) {
        return Math.toIntExact((elements + each - 1) / each);
    }
}
