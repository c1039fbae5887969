package io.qlora.cli;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Learns a byte-level BPE vocabulary (Sennrich et al. 2016, arXiv 1508.07909; bytes as in GPT-2) from text and writes it as a
 * {@code tokenizer.json}. The tokenizers library that reads such files has no trainer in its Java binding; this one is for
 * the demo's little world and takes no pains to be fast.
 */
final class BpeTrainer {

    /** What GPT-2 cuts text into before it merges: words with the space before them, numbers, punctuation. */
    private static final Pattern PIECES =
            Pattern.compile("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+");

    private static final String BEGIN = "<|begin_of_text|>";
    private static final String END = "<|end_of_text|>";

    private record Pair(String left, String right) {}

    private BpeTrainer() {}

    /**
     * A tokenizer for texts like these. Id 0 begins a document, id 1 ends it.
     *
     * @param size of the vocabulary: two special tokens, 256 bytes, the rest merges
     */
    static ObjectNode train(Collection<String> texts, int size) {
        Map<String, Integer> counts = new TreeMap<>();
        for (String text : texts) {
            Matcher matcher = PIECES.matcher(text);
            while (matcher.find()) {
                counts.merge(matcher.group(), 1, Integer::sum);
            }
        }
        Map<List<String>, Integer> words = new HashMap<>();
        counts.forEach((word, count) -> words.merge(letters(word), count, Integer::sum));
        List<String> vocabulary = new ArrayList<>(List.of(BEGIN, END));
        vocabulary.addAll(alphabet());
        List<Pair> merges = new ArrayList<>();
        Map<List<String>, Integer> current = words;
        while (vocabulary.size() < size) {
            Pair best = mostFrequent(current);
            if (best == null) {
                break;
            }
            merges.add(best);
            vocabulary.add(best.left + best.right);
            current = merged(current, best);
        }
        return json(vocabulary, merges);
    }

    private static Pair mostFrequent(Map<List<String>, Integer> words) {
        Map<Pair, Integer> pairs = new HashMap<>();
        words.forEach((word, count) -> {
            for (int i = 0; i + 1 < word.size(); i++) {
                pairs.merge(new Pair(word.get(i), word.get(i + 1)), count, Integer::sum);
            }
        });
        Pair best = null;
        for (Map.Entry<Pair, Integer> pair : pairs.entrySet()) {
            if (best == null || precedes(pair.getKey(), pair.getValue(), best, pairs.get(best))) {
                best = pair.getKey();
            }
        }
        return best;
    }

    /** More frequent first; among equals the one that comes first in the alphabet, so that the result is always the same. */
    private static boolean precedes(Pair a, int countA, Pair b, int countB) {
        if (countA != countB) {
            return countA > countB;
        }
        int left = a.left.compareTo(b.left);
        return left != 0 ? left < 0 : a.right.compareTo(b.right) < 0;
    }

    private static Map<List<String>, Integer> merged(Map<List<String>, Integer> words, Pair pair) {
        Map<List<String>, Integer> result = new HashMap<>();
        words.forEach((word, count) -> {
            List<String> parts = new ArrayList<>();
            for (int i = 0; i < word.size(); i++) {
                boolean joins = i + 1 < word.size()
                        && word.get(i).equals(pair.left)
                        && word.get(i + 1).equals(pair.right);
                parts.add(joins ? pair.left + pair.right : word.get(i));
                i += joins ? 1 : 0;
            }
            result.merge(parts, count, Integer::sum);
        });
        return result;
    }

    /** A word as its bytes, each written as the character that stands for it. */
    private static List<String> letters(String word) {
        List<String> alphabet = byteCharacters();
        List<String> letters = new ArrayList<>();
        for (byte b : word.getBytes(StandardCharsets.UTF_8)) {
            letters.add(alphabet.get(b & 0xFF));
        }
        return letters;
    }

    private static List<String> alphabet() {
        List<String> characters = new ArrayList<>(byteCharacters());
        characters.sort(null);
        return characters;
    }

    /** GPT-2's printable stand-ins: a printable Latin-1 byte is itself, the others are the characters from 256 on. */
    private static List<String> byteCharacters() {
        String[] characters = new String[256];
        int next = 256;
        for (int b = 0; b < 256; b++) {
            boolean printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            characters[b] = String.valueOf((char) (printable ? b : next++));
        }
        return Arrays.asList(characters);
    }

    /** A template that begins a text with this token, of id 0, as the model has learnt them. */
    private static void beginWith(String token, ObjectNode template) {
        template.put("type", "TemplateProcessing");
        ArrayNode single = template.putArray("single");
        single.addObject().putObject("SpecialToken").put("id", token).put("type_id", 0);
        single.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
        ArrayNode pair = template.putArray("pair");
        pair.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
        pair.addObject().putObject("Sequence").put("id", "B").put("type_id", 1);
        ObjectNode special = template.putObject("special_tokens").putObject(token);
        special.put("id", token).putArray("ids").add(0);
        special.putArray("tokens").add(token);
    }

    private static ObjectNode json(List<String> vocabulary, List<Pair> merges) {
        ObjectNode root = new JsonMapper().createObjectNode();
        root.put("version", "1.0");
        root.putNull("truncation");
        root.putNull("padding");
        ArrayNode added = root.putArray("added_tokens");
        for (int id = 0; id < 2; id++) {
            ObjectNode token = added.addObject();
            token.put("id", id).put("content", vocabulary.get(id));
            token.put("single_word", false).put("lstrip", false).put("rstrip", false);
            token.put("normalized", false).put("special", true);
        }
        root.putNull("normalizer");
        root.putObject("pre_tokenizer")
                .put("type", "ByteLevel")
                .put("add_prefix_space", false)
                .put("trim_offsets", true)
                .put("use_regex", true);
        beginWith(vocabulary.getFirst(), root.putObject("post_processor"));
        root.putObject("decoder")
                .put("type", "ByteLevel")
                .put("add_prefix_space", true)
                .put("trim_offsets", true)
                .put("use_regex", true);
        ObjectNode model = root.putObject("model");
        model.put("type", "BPE");
        model.putNull("dropout").putNull("unk_token").putNull("continuing_subword_prefix");
        model.putNull("end_of_word_suffix");
        model.put("fuse_unk", false).put("byte_fallback", false).put("ignore_merges", false);
        ObjectNode ids = model.putObject("vocab");
        for (int id = 0; id < vocabulary.size(); id++) {
            ids.put(vocabulary.get(id), id);
        }
        ArrayNode pairs = model.putArray("merges");
        merges.forEach(pair -> pairs.addArray().add(pair.left).add(pair.right));
        return root;
    }
}
