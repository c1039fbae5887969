package io.qlora.llama;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.LibUtils;
import io.qlora.engine.files.FileErrors;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/**
 * A model's {@code tokenizer.json}, used as transformers uses it and run by Hugging Face's own implementation: the native
 * library of {@code ai.djl.huggingface:tokenizers}. That is unpacked once, at first use, to {@code ~/.djl.ai} (or where the environment
 * variable or system property {@code DJL_CACHE_DIR} says, or to the temporary directory, where the home cannot be written);
 * nothing else is read or written, and the network is not used: the system property {@code ai.djl.offline} is set, unless
 * it already is. Safe for use by several threads.
 */
public final class LlamaTokenizer implements AutoCloseable {

    /** The tokenizer's file. */
    static final String FILE = "tokenizer.json";

    private static final String OFFLINE = "ai.djl.offline";

    private final HuggingFaceTokenizer tokenizer;
    private final int rows; // of the embedding
    private final OptionalInt bosId;
    private final OptionalInt eosId;
    private final Set<Integer> stopIds;

    private LlamaTokenizer(
            HuggingFaceTokenizer tokenizer, int rows, OptionalInt bosId, OptionalInt eosId, Set<Integer> stopIds) {
        this.tokenizer = tokenizer;
        this.rows = rows;
        this.bosId = bosId;
        this.eosId = eosId;
        this.stopIds = stopIds;
    }

    /**
     * Loads the tokenizer of a Hugging Face directory.
     *
     * @param config of the model that is to be fed with its ids
     * @throws MalformedFileException naming the file, if it is no tokenizer, or has more ids than the model has rows
     * @throws IOException in a sentence that names the file, if it cannot be read
     */
    public static LlamaTokenizer load(Path directory, LlamaConfig config) throws IOException {
        FileErrors.requireDirectory(directory);
        TokenizerJson json = TokenizerJson.read(directory);
        SpecialTokens special = SpecialTokens.read(directory, json, config);
        TokenizerVocabulary vocabulary = TokenizerVocabulary.read(json, special.tokens());
        if (vocabulary.size() > config.vocabSize()) {
            throw new MalformedFileException(
                    json.file(),
                    "expected ids below the embedding's " + config.vocabSize() + " rows (vocab_size), found "
                            + (vocabulary.size() - 1) + " for \"" + vocabulary.largest()
                            + "\": take the tokenizer that belongs to the model");
        }
        OptionalInt eos = special.eosId(vocabulary);
        Set<Integer> stops = special.stopIds(eos);
        HuggingFaceTokenizer tokenizer = open(json);
        try {
            return new LlamaTokenizer(
                    tokenizer,
                    config.vocabSize(),
                    before(tokenizer, vocabulary, json.file(), config.vocabSize()),
                    eos,
                    stops);
        } catch (IOException | RuntimeException e) {
            tokenizer.close();
            throw e;
        }
    }

    // As in transformers 5: what the template has, whatever bos_token and add_bos_token say.
    private static OptionalInt before(
            HuggingFaceTokenizer tokenizer, TokenizerVocabulary vocabulary, Path file, int vocabSize)
            throws MalformedFileException {
        String text = "a";
        long[] words = tokenizer.encode(text, false, false).getIds();
        if (words.length == 0) { // not in the vocabulary, and no unknown token
            text = vocabulary.largest();
            words = tokenizer.encode(text, false, false).getIds();
        }
        long[] whole = tokenizer.encode(text, true, false).getIds();
        int first = 0;
        while (first + words.length < whole.length
                && !Arrays.equals(whole, first, first + words.length, words, 0, words.length)) {
            first++;
        }
        if (first > 1) {
            throw new MalformedFileException(
                    file, "post_processor should put at most one token before a text, found " + first);
        }
        if (first == 1 && whole[0] >= vocabSize) {
            throw new MalformedFileException(
                    file,
                    "post_processor should put a token of the model before a text, an id below " + vocabSize
                            + " (vocab_size), found " + whole[0] + ": take the tokenizer that belongs to the model");
        }
        return first == 0 ? OptionalInt.empty() : OptionalInt.of(Math.toIntExact(whole[0]));
    }

    private static HuggingFaceTokenizer open(TokenizerJson json) throws IOException {
        requireLibrary();
        Path file = json.file();
        // As a stream, since by path the library also applies what it finds in tokenizer_config.json, by rules of its
        // own.
        try (InputStream stream = json.open()) {
            return HuggingFaceTokenizer.newInstance(
                    stream, Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false"));
        } catch (IOException e) {
            throw FileErrors.reading(file, e);
        } catch (RuntimeException e) {
            throw new MalformedFileException(
                    file, "expected a tokenizer, found one that cannot be used: " + e.getMessage(), e);
        }
    }

    /**
     * Loads the native library, unless it is loaded already.
     *
     * @throws IOException in a sentence that says why it cannot be
     */
    public static void requireLibrary() throws IOException {
        if (System.getProperty(OFFLINE) == null) {
            System.setProperty(OFFLINE, "true");
        }
        try {
            LibUtils.checkStatus();
        } catch (RuntimeException | LinkageError e) {
            throw new IOException(
                    "the tokenizer's native library cannot be loaded on " + System.getProperty("os.name") + " "
                            + System.getProperty("os.arch") + " (" + e.getMessage()
                            + "): it is there for Linux x64 and arm64, macOS arm64 and Windows x64, and needs a place to be "
                            + "unpacked to, ~/.djl.ai or what DJL_CACHE_DIR names",
                    e);
        }
    }

    /**
     * The ids of a text, without tokens that begin or end a document.
     *
     * @throws IllegalArgumentException if it has a token that was added to the tokenizer and that the model has no row for,
     *     or half of a character
     */
    public int[] encode(String text) {
        requireCharacters(text);
        long[] ids = tokenizer.encode(text, false, false).getIds();
        for (long id : ids) {
            if (id >= rows) {
                throw new IllegalArgumentException("the text has the token " + tokenizer.decode(new long[] {id}, false)
                        + ", whose id is " + id + ", but the model's embedding has " + rows
                        + " rows (vocab_size): leave it out, or take a model that has it");
            }
        }
        return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
    }

    // Which the library would take for three unknown characters.
    private static void requireCharacters(String text) {
        for (int i = 0; i < text.length(); i++) {
            if (Character.isSurrogate(text.charAt(i))) {
                int whole = text.codePointAt(i);
                if (!Character.isSupplementaryCodePoint(whole)) {
                    throw new IllegalArgumentException("the text has half of a character at index " + i
                            + ", the surrogate U+" + Integer.toHexString(whole).toUpperCase(Locale.ROOT)
                            + " without its other half: leave it out, or give it that");
                }
                i++;
            }
        }
    }

    /** The text of ids, special tokens left out. */
    public String decode(int... ids) {
        return tokenizer.decode(Arrays.stream(ids).asLongStream().toArray(), true);
    }

    /**
     * Decodes ids one by one, as they are generated.
     *
     * @param context the ids before them, whose text is not given again
     */
    public TextStream stream(int... context) {
        return new TextStream(this, context);
    }

    /** The id that the tokenizer puts before a document, if it puts one. */
    public OptionalInt bosId() {
        return bosId;
    }

    /** The id that ends a document, if the model has one. */
    public OptionalInt eosId() {
        return eosId;
    }

    /** The ids at which generation is to stop. */
    public Set<Integer> stopIds() {
        return stopIds;
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
