package io.qlora.bench;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** Elements for operands. */
final class Numbers {

    private Numbers() {}

    /** Fills a tensor of F32, F16 or BF16 with numbers from −1 to 1. */
    static Tensor fill(Tensor tensor) {
        SplittableRandom random = new SplittableRandom(1);
        MemorySegment memory = tensor.segment();
        for (long i = 0; i < tensor.size(); i++) {
            float value = random.nextInt() * 0x1p-31f;
            if (tensor.dtype() == DType.F32) {
                memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
            } else {
                short bits = tensor.dtype() == DType.F16
                        ? Float.floatToFloat16(value)
                        : (short) (Float.floatToRawIntBits(value) >>> 16);
                memory.setAtIndex(ValueLayout.JAVA_SHORT, i, bits);
            }
        }
        return tensor;
    }
}
