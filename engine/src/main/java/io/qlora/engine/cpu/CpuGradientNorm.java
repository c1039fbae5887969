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
import jdk.incubator.vector.VectorSpecies;

/** {@link GradientNorm} in vectors of doubles: the sums of the pieces, then, in their order, the sum of those. */
final class CpuGradientNorm implements GradientNorm.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final VectorSpecies<Double> DOUBLES = FLOATS.vectorShape().withLanes(double.class);

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
        DoubleVector low = DoubleVector.zero(DOUBLES);
        DoubleVector high = low;
        long o = from;
        for (; o <= to - 4L * WIDTH; o += 4L * WIDTH) {
            FloatVector v = FloatVector.fromMemorySegment(FLOATS, x, o, ORDER);
            DoubleVector a = (DoubleVector) v.convertShape(VectorOperators.F2D, DOUBLES, 0);
            DoubleVector b = (DoubleVector) v.convertShape(VectorOperators.F2D, DOUBLES, 1);
            low = a.fma(a, low);
            high = b.fma(b, high);
        }
        double sum = 0;
        for (double lane : low.add(high).toArray()) {
            sum += lane;
        }
        for (; o < to; o += 4) {
            double value = x.get(FLOAT, o);
            sum += value * value;
        }
        return sum;
    }
}
