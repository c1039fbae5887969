package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.StreamSupport;

/**
 * The fields of a JSON object in a file, each of the type that is asked for; {@code null} counts as absent, as it does in
 * Hugging Face's files.
 *
 * @param file for messages
 * @param prefix of the names in messages, such as {@code rope_scaling.}
 * @param object the fields
 */
record JsonFields(Path file, String prefix, ObjectNode object) {

    boolean has(String name) {
        return object.hasNonNull(name);
    }

    OptionalInt integer(String name) throws MalformedFileException {
        if (!has(name)) {
            return OptionalInt.empty();
        }
        JsonNode node = object.get(name);
        if (!node.isIntegralNumber() || !node.canConvertToInt()) {
            throw bad(name, "a whole number of at most " + Integer.MAX_VALUE);
        }
        return OptionalInt.of(node.intValue());
    }

    OptionalDouble number(String name) throws MalformedFileException {
        if (!has(name)) {
            return OptionalDouble.empty();
        }
        JsonNode node = object.get(name);
        if (!node.isNumber() || !Double.isFinite(node.doubleValue())) {
            throw bad(name, "a number");
        }
        return OptionalDouble.of(node.doubleValue());
    }

    boolean flag(String name, boolean otherwise) throws MalformedFileException {
        if (has(name) && !object.get(name).isBoolean()) {
            throw bad(name, "true or false");
        }
        return has(name) ? object.get(name).booleanValue() : otherwise;
    }

    Optional<String> text(String name) throws MalformedFileException {
        if (!has(name)) {
            return Optional.empty();
        }
        if (!object.get(name).isTextual()) {
            throw bad(name, "a string");
        }
        return Optional.of(object.get(name).textValue());
    }

    /** A number or a list of numbers; empty when absent. */
    List<Integer> integers(String name) throws MalformedFileException {
        if (!has(name)) {
            return List.of();
        }
        JsonNode node = object.get(name);
        List<JsonNode> nodes =
                node.isArray() ? StreamSupport.stream(node.spliterator(), false).toList() : List.of(node);
        if (!nodes.stream().allMatch(n -> n.isIntegralNumber() && n.canConvertToInt())) {
            throw bad(name, "a whole number or a list of them");
        }
        return nodes.stream().map(JsonNode::intValue).toList();
    }

    /** The object in a field. */
    Optional<JsonFields> fields(String name) throws MalformedFileException {
        if (!has(name)) {
            return Optional.empty();
        }
        if (!(object.get(name) instanceof ObjectNode inner)) {
            throw bad(name, "an object");
        }
        return Optional.of(new JsonFields(file, prefix + name + ".", inner));
    }

    /** The error that field {@code name} is not {@code expected}. */
    MalformedFileException bad(String name, String expected) {
        return bad(name, expected, "");
    }

    /** The same, and what to do about it. */
    MalformedFileException bad(String name, String expected, String wayOut) {
        String found = has(name) ? JsonFiles.describe(object.get(name)) : "nothing";
        String sentence = prefix + name + " should be " + expected + ", found " + found;
        return new MalformedFileException(file, wayOut.isEmpty() ? sentence : sentence + ": " + wayOut);
    }
}
