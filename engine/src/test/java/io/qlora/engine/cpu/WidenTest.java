package io.qlora.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.engine.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class WidenTest {

    private static final int PATTERNS = 1 << 16;

    @Test
    void everyHalfBecomesItsFloat() {
        float[] widened = widenAll(DType.F16);
        for (int i = 0; i < PATTERNS; i++) {
            assertEquals(Float.float16ToFloat((short) i), widened[i], "pattern " + Integer.toHexString(i));
        }
    }

    @Test
    void everyBfloatBecomesItsFloat() {
        float[] widened = widenAll(DType.BF16);
        for (int i = 0; i < PATTERNS; i++) {
            assertEquals(Float.intBitsToFloat(i << 16), widened[i], "pattern " + Integer.toHexString(i));
        }
    }

    private static float[] widenAll(DType dtype) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment patterns = arena.allocate(ValueLayout.JAVA_SHORT, PATTERNS);
            for (int i = 0; i < PATTERNS; i++) {
                patterns.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) i);
            }
            float[] widened = new float[PATTERNS];
            // in pieces, so that each is met in a vector as well as in what is left over
            for (int from = 0, count = 1; from < PATTERNS; from += count, count = 1 + (count * 5) % 127) {
                Widen.copy(dtype, patterns, from, Math.min(count, PATTERNS - from), widened, from);
            }
            return widened;
        }
    }
}
