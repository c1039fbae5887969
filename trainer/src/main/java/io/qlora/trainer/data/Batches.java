package io.qlora.trainer.data;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Which documents make up which optimizer step: every epoch all of them once, in an order of its own drawn from the seed,
 * divided into steps of {@code perStep} documents, the last of an epoch perhaps fewer. A function of its arguments alone,
 * so that a run can be resumed at any step.
 */
public final class Batches {

    private final DataSet data;
    private final int perStep;
    private final long seed;
    private long shuffled = -1; // the epoch that order is of
    private int[] order = new int[0];

    /**
     * The steps of a run.
     *
     * @param perStep documents in a step: micro-batch size times accumulation
     */
    public Batches(DataSet data, int perStep, long seed) {
        if (perStep < 1) {
            throw new IllegalArgumentException("a step needs at least one document, found " + perStep);
        }
        this.data = data;
        this.perStep = perStep;
        this.seed = seed;
    }

    /** Optimizer steps in an epoch. */
    public int stepsPerEpoch() {
        return Math.ceilDiv(data.size(), perStep);
    }

    /** The documents of an optimizer step, which is counted from 1. */
    public List<Document> step(long step) {
        long epoch = (step - 1) / stepsPerEpoch();
        int from = Math.toIntExact((step - 1) % stepsPerEpoch()) * perStep;
        int count = Math.min(data.size() - from, perStep);
        shuffle(epoch);
        List<Document> documents = new ArrayList<>(count);
        for (int i = from; i < from + count; i++) {
            documents.add(data.documents().get(order[i]));
        }
        return documents;
    }

    private void shuffle(long epoch) {
        if (shuffled == epoch) {
            return;
        }
        order = new int[data.size()];
        for (int i = 0; i < order.length; i++) {
            order[i] = i;
        }
        SplittableRandom random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + epoch);
        for (int i = order.length - 1; i > 0; i--) {
            int j = random.nextInt(i + 1);
            int kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
        shuffled = epoch;
    }

    /** Divides documents into micro-batches of at most {@code size}, keeping their order. */
    public static List<List<Document>> split(List<Document> documents, int size) {
        List<List<Document>> parts = new ArrayList<>();
        for (int i = 0; i < documents.size(); i += size) {
            parts.add(documents.subList(i, Math.min(documents.size(), i + size)));
        }
        return parts;
    }
}
