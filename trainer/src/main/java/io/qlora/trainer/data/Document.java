package io.qlora.trainer.data;

/**
 * A tokenised record.
 *
 * @param ids token ids, special tokens included; at least one
 * @param targets for each token whether it is to be predicted from those before it; never the first
 */
public record Document(int[] ids, boolean[] targets) {

    public Document {
        if (ids.length == 0 || ids.length != targets.length) {
            throw new IllegalArgumentException("a document needs as many targets as ids, at least one, found "
                    + ids.length + ", " + targets.length);
        }
        if (targets[0]) {
            throw new IllegalArgumentException("a document's first token has nothing to be predicted from");
        }
    }

    /** Number of tokens. */
    public int length() {
        return ids.length;
    }

    /** Number of tokens to predict. */
    public int targetCount() {
        int count = 0;
        for (boolean target : targets) {
            count += target ? 1 : 0;
        }
        return count;
    }
}
