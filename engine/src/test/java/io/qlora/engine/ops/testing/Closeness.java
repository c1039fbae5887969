package io.qlora.engine.ops.testing;

import static org.junit.jupiter.api.Assertions.fail;

/** Comparisons of arrays as wholes: errors are judged by the array's largest magnitude. */
public final class Closeness {

    private Closeness() {}

    /** Fails unless every element is within {@code share} of the largest expected magnitude, naming the worst one. */
    public static void assertClose(float[] expected, float[] actual, double share, String what) {
        assertSameLength(expected, actual, what);
        double largest = largest(expected);
        int worst = -1;
        double error = share * largest;
        for (int i = 0; i < expected.length; i++) {
            double difference = Math.abs((double) expected[i] - actual[i]);
            // written so that a NaN on one side only is an error, too
            if (!(difference <= error) && Float.compare(expected[i], actual[i]) != 0) {
                worst = i;
                error = Double.isNaN(difference) ? Double.POSITIVE_INFINITY : difference;
            }
        }
        if (worst >= 0) {
            fail("%s: element %d: expected %.9g, found %.9g, off by %.2g of the largest (%.4g), allowed %.2g"
                    .formatted(what, worst, expected[worst], actual[worst], error / largest, largest, share));
        }
    }

    /** Fails unless every element has the same bits. */
    public static void assertSameBits(float[] expected, float[] actual, String what) {
        assertSameLength(expected, actual, what);
        for (int i = 0; i < expected.length; i++) {
            if (Float.floatToRawIntBits(expected[i]) != Float.floatToRawIntBits(actual[i])) {
                fail("%s: element %d: expected %.9g, found %.9g: other bits"
                        .formatted(what, i, expected[i], actual[i]));
            }
        }
    }

    private static void assertSameLength(float[] expected, float[] actual, String what) {
        if (expected.length != actual.length) {
            fail(what + ": expected " + expected.length + " elements, found " + actual.length);
        }
    }

    /** The largest magnitude that is a number. */
    static double largest(float[] values) {
        double largest = 0;
        for (float value : values) {
            largest = Float.isFinite(value) ? Math.max(largest, Math.abs(value)) : largest;
        }
        return largest;
    }
}
