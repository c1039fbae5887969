package io.qlora.nf4;

/** NF4 as its definition reads, the long way: the oracle of the codec. */
final class ReferenceNf4 {

    private static final float[] VALUES = Nf4.values();
    private static final float[] MAP = Nf4.dynamicMap();

    private ReferenceNf4() {}

    static float[] absmax(float[] x) {
        float[] absmax = new float[Math.ceilDiv(x.length, 64)];
        for (int i = 0; i < x.length; i++) {
            absmax[i / 64] = Math.max(absmax[i / 64], Math.abs(x[i]));
        }
        return absmax;
    }

    /** One code an element, not packed. */
    static int[] codes(float[] x) {
        float[] absmax = absmax(x);
        int[] codes = new int[x.length];
        for (int i = 0; i < x.length; i++) {
            float scale = Math.max(absmax[i / 64], 1e-38f);
            boolean whole = i / 64 * 64 + 64 <= x.length;
            float scaled = whole ? x[i] * (1 / scale) : x[i] / scale;
            scaled = Math.min(1, Math.max(-1, scaled));
            int code = Float.isNaN(scaled) ? 15 : 0;
            for (int c = 1; c < 16; c++) {
                if (scaled > (VALUES[c - 1] + VALUES[c]) / 2) {
                    code = c;
                }
            }
            codes[i] = code;
        }
        return codes;
    }

    static byte[] pack(int[] codes) {
        byte[] packed = new byte[(codes.length + 1) / 2];
        for (int i = 0; i < codes.length; i++) {
            packed[i / 2] |= (byte) (i % 2 == 0 ? codes[i] << 4 : codes[i]);
        }
        if (codes.length % 2 == 1) {
            packed[codes.length / 2] |= 7;
        }
        return packed;
    }

    static float[] decode(int[] codes, float[] absmax) {
        float[] values = new float[codes.length];
        for (int i = 0; i < codes.length; i++) {
            values[i] = VALUES[codes[i]] * absmax[i / 64];
        }
        return values;
    }

    static float[] absmax2(float[] absmax, float offset) {
        float[] absmax2 = new float[Math.ceilDiv(absmax.length, 256)];
        for (int b = 0; b < absmax.length; b++) {
            absmax2[b / 256] = Math.max(absmax2[b / 256], Math.abs(absmax[b] - offset));
        }
        return absmax2;
    }

    /** The nearest entry of the map, by distance; the first of several. */
    static byte[] absmaxCodes(float[] absmax, float offset) {
        float[] absmax2 = absmax2(absmax, offset);
        byte[] codes = new byte[absmax.length];
        for (int b = 0; b < absmax.length; b++) {
            double x = (absmax[b] - offset) / Math.max(absmax2[b / 256], 1e-38f);
            int nearest = 0;
            for (int c = 1; c < 256; c++) {
                if (Math.abs(x - MAP[c]) < Math.abs(x - MAP[nearest])) {
                    nearest = c;
                }
            }
            codes[b] = (byte) nearest;
        }
        return codes;
    }

    static float[] decodeAbsmax(byte[] codes, float[] absmax2, float offset) {
        float[] absmax = new float[codes.length];
        for (int b = 0; b < codes.length; b++) {
            absmax[b] = MAP[codes[b] & 0xff] * absmax2[b / 256] + offset;
        }
        return absmax;
    }
}
