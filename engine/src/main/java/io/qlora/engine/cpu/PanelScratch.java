package io.qlora.engine.cpu;

/** A thread's heap arrays for packing: grown on demand, then kept. */
public final class PanelScratch {

    private int[] ints = new int[0];
    private float[] floats = new float[0];

    PanelScratch() {}

    /** At least {@code length} ints, of undefined value. */
    public int[] ints(int length) {
        if (ints.length < length) {
            ints = new int[length];
        }
        return ints;
    }

    /** At least {@code length} floats, of undefined value. */
    public float[] floats(int length) {
        if (floats.length < length) {
            floats = new float[length];
        }
        return floats;
    }
}
