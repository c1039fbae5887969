package io.qlora.engine.memory;

/** Of a pool whose memory has come in pieces. */
final class Pieces {

    private static final int SHARE = 8;

    private Pieces() {}

    /**
     * Whether it has taken more than its tensors ever needed together, by more than a piece and an eighth: pages that are fresh
     * cost more than those that are used again, so less is no reason to begin anew.
     */
    static boolean leaveMuch(long capacity, long peak, long chunkBytes) {
        return capacity - peak > Math.max(chunkBytes, peak / SHARE);
    }
}
