package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class RopeParametersTest {

    /** Llama 3.1 and 3.2 have these, with factors 8 and 32. */
    private static final RopeParameters LLAMA31 = new RopeParameters(500000, new RopeParameters.Llama3(8, 1, 4, 8192));

    private static double exact(double theta, int headDim, int i) {
        return Math.pow(theta, -2.0 * i / headDim);
    }

    private static void assertWithinTwoUnits(double expected, float found) {
        assertEquals(expected, found, 2 * Math.ulp((float) expected));
    }

    @Test
    void unscaledFrequenciesAreThePowersOfTheta() {
        float[] frequencies = RopeParameters.of(10000).inverseFrequencies(128);
        assertEquals(64, frequencies.length);
        assertEquals(1f, frequencies[0]);
        for (int i = 0; i < frequencies.length; i++) {
            assertWithinTwoUnits(exact(10000, 128, i), frequencies[i]);
        }
    }

    @Test
    void linearScalingDividesAll() {
        float[] plain = RopeParameters.of(10000).inverseFrequencies(64);
        float[] scaled = new RopeParameters(10000, new RopeParameters.Linear(4)).inverseFrequencies(64);
        for (int i = 0; i < plain.length; i++) {
            assertEquals(plain[i] / 4, scaled[i]);
        }
    }

    @Test
    void llama3ScalingKeepsFastOnesDividesSlowOnesAndBlendsBetween() {
        float[] plain = RopeParameters.of(500000).inverseFrequencies(128);
        float[] scaled = LLAMA31.inverseFrequencies(128);
        int blended = 0;
        for (int i = 0; i < plain.length; i++) {
            double wavelength = 2 * Math.PI / exact(500000, 128, i);
            if (wavelength < 2048) {
                assertEquals(plain[i], scaled[i]);
            } else if (wavelength > 8192) {
                assertEquals(plain[i] / 8, scaled[i]);
            } else {
                double smooth = (8192 / wavelength - 1) / 3;
                double expected = (1 - smooth) * plain[i] / 8 + smooth * plain[i];
                assertEquals(expected, scaled[i], 1e-6 * expected);
                assertTrue(scaled[i] < plain[i] && scaled[i] > plain[i] / 8);
                blended++;
            }
        }
        assertEquals(6, blended);
    }
}
