package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;

/**
 * The token that ends a document, and those at which generation stops. As in transformers 5, the tokenizer's own files come
 * first: {@code special_tokens_map.json}, which older versions wrote, then {@code tokenizer_config.json}, which is asked
 * alone if it has {@code added_tokens_decoder}. Where they do not speak of it, the class that makes the tokenizer anew does,
 * and then {@code config.json}. (What begins a document is the template's in {@code tokenizer.json} to say.)
 */
final class SpecialTokens {

    private static final String EOS = "eos_token";

    /** What a tokenizer's file says about one of them: a token, or that there is none. */
    private record Named(Path file, Optional<String> token) {}

    private final LlamaConfig config;
    private final Path directory;
    private final Optional<Named> eos;

    private SpecialTokens(LlamaConfig config, Path directory, Optional<Named> eos) {
        this.config = config;
        this.directory = directory;
        this.eos = eos;
    }

    static SpecialTokens read(Path directory, TokenizerJson json, LlamaConfig config) throws IOException {
        Optional<Named> eos = named(directory, EOS);
        return new SpecialTokens(
                config,
                directory,
                eos.isPresent() ? eos : json.unsaid(EOS).map(token -> new Named(json.file(), Optional.of(token))));
    }

    private static Optional<Named> named(Path directory, String name) throws IOException {
        TokenizerSettings settings = TokenizerSettings.read(directory);
        Map<String, ObjectNode> files = new LinkedHashMap<>();
        files.put(TokenizerSettings.MAP, settings.map());
        files.put(TokenizerSettings.CONFIG, settings.config());
        for (Map.Entry<String, ObjectNode> each : files.entrySet()) {
            Path file = directory.resolve(each.getKey());
            if (!each.getValue().has(name)) {
                continue;
            }
            JsonNode node = each.getValue().get(name);
            JsonNode token = node.isObject() ? node.path("content") : node;
            if (!token.isTextual() && !token.isNull()) {
                throw new MalformedFileException(file, name + " should be a token, found " + JsonFiles.describe(node));
            }
            return Optional.of(new Named(file, Optional.ofNullable(token.textValue())));
        }
        return Optional.empty();
    }

    /** The tokens whose ids are needed. */
    Set<String> tokens() {
        Set<String> tokens = new TreeSet<>();
        eos.flatMap(Named::token).ifPresent(tokens::add);
        return tokens;
    }

    /** The id that ends a document. */
    OptionalInt eosId(TokenizerVocabulary vocabulary) throws MalformedFileException {
        if (eos.isPresent()) {
            return id(eos.get(), vocabulary);
        }
        List<Integer> ids = config.eosTokenIds();
        return fromConfig("eos_token_id", ids.isEmpty() ? OptionalInt.empty() : OptionalInt.of(ids.getFirst()));
    }

    private OptionalInt fromConfig(String name, OptionalInt id) throws MalformedFileException {
        if (id.isPresent() && (id.getAsInt() < 0 || id.getAsInt() >= config.vocabSize())) {
            throw new MalformedFileException(
                    directory.resolve(ConfigReader.FILE),
                    name + " should be an id below vocab_size, " + config.vocabSize() + ", found " + id.getAsInt());
        }
        return id;
    }

    private OptionalInt id(Named named, TokenizerVocabulary vocabulary) throws MalformedFileException {
        if (named.token.isEmpty()) {
            return OptionalInt.empty();
        }
        Integer id = vocabulary.ids().get(named.token.get());
        if (id == null) {
            throw new MalformedFileException(
                    named.file, "token " + named.token.get() + " should be in " + LlamaTokenizer.FILE + ", found none");
        }
        if (id >= config.vocabSize()) {
            throw new MalformedFileException(
                    named.file,
                    "token " + named.token.get() + " should have an id below vocab_size, " + config.vocabSize()
                            + ", found " + id + ": take the tokenizer that belongs to the model");
        }
        return OptionalInt.of(id);
    }

    /** The ids at which generation stops: {@code generation_config.json}'s, or else the config's; and the tokenizer's. */
    Set<Integer> stopIds(OptionalInt eosId) throws IOException {
        List<Integer> ids = new ArrayList<>(GenerationConfig.eosTokenIds(directory));
        if (ids.isEmpty()) {
            ids.addAll(config.eosTokenIds());
        }
        eosId.ifPresent(ids::add);
        return Set.copyOf(ids);
    }
}
