package io.qlora.engine.cpu;

import java.util.ArrayList;
import java.util.List;

/** Arrays that all threads of an op share, such as packed operands: kept from one op to the next. */
public final class HeapArrays {

    private static final List<float[]> SPARE = new ArrayList<>();

    private HeapArrays() {}

    /**
     * At least {@code length} floats of undefined value, the caller's until given back: of the spare arrays the shortest that
     * will do. Where none does, a new one takes the place of the longest.
     */
    public static float[] take(int length) {
        synchronized (SPARE) {
            int best = -1;
            int longest = -1;
            for (int i = 0; i < SPARE.size(); i++) {
                int spare = SPARE.get(i).length;
                if (spare >= length && (best < 0 || spare < SPARE.get(best).length)) {
                    best = i;
                }
                if (longest < 0 || spare > SPARE.get(longest).length) {
                    longest = i;
                }
            }
            if (best >= 0) {
                return SPARE.remove(best);
            }
            if (longest >= 0) {
                SPARE.remove(longest);
            }
        }
        return new float[length];
    }

    /** Gives back what was taken. */
    public static void give(float[] array) {
        synchronized (SPARE) {
            SPARE.add(array);
        }
    }

    /** Forgets the spare ones: for tests, whose arrays are then as long as they were asked for. */
    static void clear() {
        synchronized (SPARE) {
            SPARE.clear();
        }
    }
}
