package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** {@link GradientNorm} in vectors of doubles: the sums of the pieces, then, in their order, the sum of those. */
final class CpuGradientNorm implements GradientNorm.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final VectorSpecies<Double> DOUBLES = FLOATS.vectorShape().withLanes(double.class);
    private static final VectorSpecies<Float> HALF =
            VectorShape.forBitSize(FLOATS.vectorBitSize() / 2).withLanes(float.class); // as many floats as doubles

    private final Workers workers;

    CpuGradientNorm(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void norm(List<Tensor> tensors, Tensor norm) {
        Pieces pieces = Pieces.of(tensors);
        double[] sums = new double[pieces.count()];
        workers.run(sums.length, piece -> {
            int index = pieces.tensor(piece);
            Tensor tensor = tensors.get(index);
            long from = pieces.from(piece, index);
            sums[piece] = squares(tensor.segment(), 4 * from, 4 * pieces.to(piece, index, tensor.size()));
        });
        double sum = 0;
        for (double part : sums) {
            sum += part;
        }
        norm.segment().set(FLOAT, 0, (float) Math.sqrt(sum));
    }

    /** The sum of the squares in bytes {@code from} to {@code to}. */
    private static double squares(MemorySegment x, long from, long to) {
        DoubleVector sum0 = DoubleVector.zero(DOUBLES);
        DoubleVector sum1 = sum0;
        DoubleVector sum2 = sum0;
        DoubleVector sum3 = sum0;
        long half = 2L * WIDTH; // bytes
        long o = from;
        for (; o <= to - 4 * half; o += 4 * half) {
            DoubleVector a = load(x, o);
            sum0 = a.fma(a, sum0);
            DoubleVector b = load(x, o + half);
            sum1 = b.fma(b, sum1);
            DoubleVector c = load(x, o + 2 * half);
            sum2 = c.fma(c, sum2);
            DoubleVector d = load(x, o + 3 * half);
            sum3 = d.fma(d, sum3);
        }
        double sum = 0;
        for (double lane : sum0.add(sum1).add(sum2.add(sum3)).toArray()) {
            sum += lane;
        }
        for (; o < to; o += 4) {
            double value = x.get(FLOAT, o);
            sum += value * value;
        }
        return sum;
    }

    private static DoubleVector load(MemorySegment x, long offset) {
        FloatVector floats = FloatVector.fromMemorySegment(HALF, x, offset, ORDER);
        return (DoubleVector) floats.convertShape(VectorOperators.F2D, DOUBLES, 0);
    }
}
