package io.qlora.llama;

/** What becomes of a block's activations between the way forward and the way back. Gradients are the same, bit for bit. */
public enum Checkpointing {
    /** They are kept. */
    NONE,
    /**
     * Its input alone is kept, the rest computed again: a third more work, a fraction of the memory. The last block is kept
     * as it is: its way back is the first, and takes as much.
     */
    BLOCKS,
    /** Its input, too, is kept in the machine's memory instead of the card's: on a device with memory of its own only. */
    OFFLOADED
}
