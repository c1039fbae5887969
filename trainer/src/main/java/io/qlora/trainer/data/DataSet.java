package io.qlora.trainer.data;

import io.qlora.llama.LlamaConfig;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

/**
 * Tokenised records. A document is BOS + text + EOS, or BOS + prompt + completion + EOS with prompt and completion
 * tokenised apart, so that a prompt has the ids that it has alone, when the model is asked; learnt are all tokens of a text,
 * and of a completion the completion and EOS. BOS is there where the tokenizer puts one, and EOS once, if the text ends with
 * it already.
 *
 * @param documents what there is to train on, in the files' order
 * @param cut how many documents were longer than allowed and lost their end
 * @param dropped the records that have no targets (left), as {@code file, line n}; they are not in {@code documents}
 */
public record DataSet(List<Document> documents, int cut, List<String> dropped) {

    private static final int DEFAULT_MAX_LENGTH = 1024;

    public DataSet {
        documents = List.copyOf(documents);
        dropped = List.copyOf(dropped);
    }

    /** A set of documents that were tokenised elsewhere. */
    public static DataSet of(List<Document> documents) {
        return new DataSet(documents, 0, List.of());
    }

    /**
     * The most tokens a document may have.
     *
     * @param asked by the user; 0 for 1024
     * @return that, or the model's limit if it is smaller
     */
    public static int maxLength(int asked, LlamaConfig config) {
        return Math.min(asked > 0 ? asked : DEFAULT_MAX_LENGTH, config.maxPositionEmbeddings());
    }

    /**
     * Reads and tokenises files. A plain text file is one long document: it is divided into pieces of {@code maxLength}.
     *
     * @param maxLength the most tokens a document may have, special ones included; at least 2
     * @param completionOnly whether only completions are learnt, not their prompts
     * @throws DataException if a file cannot be used, or none of them holds anything to learn
     */
    public static DataSet read(List<Path> files, Encoding encoding, int maxLength, boolean completionOnly)
            throws IOException {
        if (maxLength < 2) {
            throw new DataException("the maximal length should be at least 2 tokens, found " + maxLength);
        }
        Reading reading = new Reading(encoding, maxLength, completionOnly);
        for (Path file : files) {
            DataFile.visit(file, reading);
        }
        return reading.end(files);
    }

    /** What has come of the records so far. */
    private static final class Reading implements DataFile.Visitor {

        private final Encoding encoding;
        private final int maxLength;
        private final boolean completionOnly;
        private final List<Document> documents = new ArrayList<>();
        private final List<String> dropped = new ArrayList<>();
        private int cut;
        private int rows;

        Reading(Encoding encoding, int maxLength, boolean completionOnly) {
            this.encoding = encoding;
            this.maxLength = maxLength;
            this.completionOnly = completionOnly;
        }

        @Override
        public void row(Row row) throws DataException {
            rows++;
            Document whole = encode(row, encoding, completionOnly);
            if (DataFile.isPlain(row.file())) {
                divide(whole, encoding, maxLength).forEach(piece -> add(piece, row));
            } else {
                cut += whole.length() > maxLength ? 1 : 0;
                add(truncate(whole, maxLength), row);
            }
        }

        private void add(Document document, Row row) {
            if (document.targetCount() > 0) {
                documents.add(document);
            } else {
                dropped.add(row.where());
            }
        }

        DataSet end(List<Path> files) throws DataException {
            requireSomething(files, rows, documents, dropped, maxLength);
            return new DataSet(documents, cut, dropped);
        }
    }

    private static void requireSomething(
            List<Path> files, int rows, List<Document> documents, List<String> dropped, int maxLength)
            throws DataException {
        String names = files.size() == 1 ? files.getFirst().toString() : files.toString();
        if (rows == 0) {
            throw new DataException(names + ": expected records, found none");
        }
        if (documents.isEmpty()) {
            throw new DataException(names + ": none of the " + rows + " records has a target left within maxLength "
                    + maxLength + " (the first is " + dropped.getFirst() + "); allow longer documents");
        }
    }

    private static Document encode(Row row, Encoding encoding, boolean completionOnly) throws DataException {
        try {
            return document(row, encoding, completionOnly);
        } catch (IllegalArgumentException e) {
            throw new DataException(row.where() + ": " + e.getMessage());
        }
    }

    private static Document document(Row row, Encoding encoding, boolean completionOnly) {
        int[] prompt;
        int[] learnt;
        switch (row.content()) {
            case Row.Text text -> {
                prompt = new int[0];
                learnt = encoding.encode(text.text());
            }
            case Row.Completion completion -> {
                prompt = encoding.encode(completion.prompt());
                learnt = encoding.encode(completion.completion());
            }
        }
        int bos = encoding.bos() >= 0 ? 1 : 0;
        boolean ended = learnt.length > 0 && learnt[learnt.length - 1] == encoding.eos();
        int eos = encoding.eos() >= 0 && !ended ? 1 : 0;
        int start = bos + prompt.length;
        int[] ids = new int[start + learnt.length + eos];
        System.arraycopy(prompt, 0, ids, bos, prompt.length);
        System.arraycopy(learnt, 0, ids, start, learnt.length);
        if (bos == 1) {
            ids[0] = encoding.bos();
        }
        if (eos == 1) {
            ids[ids.length - 1] = encoding.eos();
        }
        if (ids.length == 0) {
            return new Document(new int[] {0}, new boolean[1]);
        }
        boolean[] targets = new boolean[ids.length];
        int first = completionOnly ? start : 1;
        Arrays.fill(targets, Math.min(Math.max(1, first), ids.length), ids.length, true);
        return new Document(ids, targets);
    }

    private static Document truncate(Document document, int maxLength) {
        if (document.length() <= maxLength) {
            return document;
        }
        return new Document(Arrays.copyOf(document.ids(), maxLength), Arrays.copyOf(document.targets(), maxLength));
    }

    /** Pieces of a long text, each begun like a document of its own. */
    private static List<Document> divide(Document whole, Encoding encoding, int maxLength) {
        List<Document> pieces = new ArrayList<>();
        int lead = encoding.bos() >= 0 ? 1 : 0;
        for (int from = lead; from < whole.length(); from += maxLength - lead) {
            int to = Math.min(whole.length(), from + maxLength - lead);
            int[] ids = new int[lead + to - from];
            System.arraycopy(whole.ids(), from, ids, lead, to - from);
            if (lead == 1) {
                ids[0] = encoding.bos();
            }
            boolean[] targets = new boolean[ids.length];
            Arrays.fill(targets, 1, ids.length, true);
            pieces.add(new Document(ids, targets));
        }
        return pieces;
    }

    /** Number of documents. */
    public int size() {
        return documents.size();
    }

    /** Number of tokens, special ones included. */
    public long tokens() {
        return documents.stream().mapToLong(Document::length).sum();
    }

    /** Number of tokens to predict. */
    public long targets() {
        return documents.stream().mapToLong(Document::targetCount).sum();
    }

    /** Length of the longest document. */
    public int longest() {
        return documents.stream().mapToInt(Document::length).max().orElse(0);
    }

    /** Bytes of the Java heap that the documents take: 5 a token, and 72 a document. */
    public long heapBytes() {
        return 5 * tokens() + 72L * size();
    }

    /** A digest of all ids and targets, by which a checkpoint knows the data it was trained on. */
    public String digest() {
        try {
            MessageDigest sha = MessageDigest.getInstance("SHA-256");
            for (Document document : documents) {
                String text = Arrays.toString(document.ids()) + Arrays.toString(document.targets());
                sha.update(text.getBytes(StandardCharsets.UTF_8));
            }
            return HexFormat.of().formatHex(sha.digest(), 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every Java platform has SHA-256
        }
    }
}
