package io.qlora.trainer;

import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.trainer.data.Document;
import java.util.List;

/**
 * Documents laid one behind the other, as the model takes them.
 *
 * @param ids I32 [T]
 * @param sequences where each document is
 * @param rows I32 [N]: the rows from which a target is to be predicted, rising
 * @param targets I32 [N]: the ids to be predicted there
 */
record MicroBatch(Tensor ids, Sequences sequences, Tensor rows, Tensor targets) {

    /**
     * Packs documents.
     *
     * @param pool where the tensors are made
     * @param firstDocument the number of the first one in its optimizer step
     */
    static MicroBatch of(BumpPool pool, List<Document> documents, int firstDocument) {
        int[] lengths = documents.stream().mapToInt(Document::length).toArray();
        Sequences sequences = Sequences.of(pool, firstDocument, lengths);
        int count = documents.stream().mapToInt(Document::targetCount).sum();
        int[] ids = new int[sequences.tokens()];
        int[] rows = new int[count];
        int[] targets = new int[count];
        int n = 0;
        for (int s = 0; s < lengths.length; s++) {
            Document document = documents.get(s);
            int start = sequences.starts()[s];
            System.arraycopy(document.ids(), 0, ids, start, lengths[s]);
            for (int t = 1; t < lengths[s]; t++) {
                if (document.targets()[t]) {
                    rows[n] = start + t - 1;
                    targets[n++] = document.ids()[t];
                }
            }
        }
        return new MicroBatch(ints(pool, ids), sequences, ints(pool, rows), ints(pool, targets));
    }

    private static Tensor ints(BumpPool pool, int[] values) {
        return pool.empty(DType.I32, Shape.of(values.length)).set(values);
    }
}
