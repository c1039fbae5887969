package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.MatMul.KC;
import static io.qlora.engine.cpu.MatMul.NR;

/** All panels of a narrow right-hand side, packed once for all tasks. */
final class RightPanels implements AutoCloseable {

    private static final int PANEL = KC * NR;

    final float[] data;
    final int panels;
    final int blocks;
    private final PanelSource source;

    RightPanels(PanelSource source) {
        this.source = source;
        this.panels = Math.ceilDiv(source.width(), NR);
        this.blocks = Math.ceilDiv(source.depth(), KC);
        this.data = HeapArrays.take(Math.multiplyExact(panels * blocks, PANEL));
    }

    Tasks packing() {
        return Tasks.of(panels * blocks, task -> {
            Scratch scratch = Scratch.ofThread();
            int panel = task / blocks;
            int from = task % blocks * KC;
            int length = Math.min(KC, source.depth() - from);
            source.pack(from, length, panel * NR, cols(panel), scratch.panel, scratch.source);
            System.arraycopy(scratch.panel, 0, data, task * PANEL, length * NR);
        });
    }

    /** Number of columns of a panel. */
    int cols(int panel) {
        return Math.min(NR, source.width() - panel * NR);
    }

    /** Where block {@code b} of a panel begins in {@link #data}; rows are {@code NR} long. */
    int start(int panel, int b) {
        return (panel * blocks + b) * PANEL;
    }

    @Override
    public void close() {
        HeapArrays.give(data);
    }
}
