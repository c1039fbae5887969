package io.qlora.engine.cpu;

/** A thread's heap arrays for packing: grown on demand, then kept. */
public final class PanelScratch {

    private static final ThreadLocal<PanelScratch> OF_THREAD = ThreadLocal.withInitial(PanelScratch::new);

    private int[] ints = new int[0];
    private float[] floats = new float[0];

    PanelScratch() {}

    /** The calling thread's. What is in it lasts until somebody else on this thread asks for the same kind. */
    public static PanelScratch ofThread() {
        return OF_THREAD.get();
    }

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
