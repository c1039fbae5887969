package io.qlora.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Ways in which a safetensors file can be cut short or lie, whatever it holds. */
enum DamagedTensors {
    EMPTY("found only 0 bytes") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.truncate(file, 0);
        }
    },
    CUT_IN_THE_HEADER("truncated") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.truncate(file, 40);
        }
    },
    CUT_IN_THE_DATA("truncated") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.truncate(file, Files.size(file) - 10);
        }
    },
    BYTES_BEHIND("bytes of no tensor follow") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.truncate(file, Files.size(file) + 10);
        }
    },
    HEADER_PAST_THE_END("the file ends") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.writeHeaderLength(file, Files.size(file));
        }
    },
    HEADER_OF_ABSURD_LENGTH("the header's length should be") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.writeHeaderLength(file, Long.MAX_VALUE);
        }
    },
    HEADER_OF_NEGATIVE_LENGTH("the header's length should be") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.writeHeaderLength(file, -1);
        }
    },
    HEADER_THAT_IS_NO_JSON("should be JSON") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.editHeader(file, header -> header.replace(':', ';'));
        }
    },
    A_NAME_TWICE("Duplicate field") {
        @Override
        void inflict(Path file) throws IOException {
            TinyModel.editHeader(file, header -> header.replaceFirst("(\"[^\"]+\": *\\{\"dtype\"[^}]*})", "$1,$1"));
        }
    },
    OVERLAPPING_DATA("overlap") {
        @Override
        void change(List<ObjectNode> tensors) {
            ArrayNode second = offsets(tensors.get(1));
            second.set(0, second.get(0).asLong() - 2);
            second.set(1, second.get(1).asLong() - 2);
        }
    },
    DATA_PAST_THE_END("lie beyond the file's") {
        @Override
        void change(List<ObjectNode> tensors) {
            offsets(tensors.getFirst()).set(1, 1L << 40);
        }
    },
    DATA_THAT_END_BEFORE_THEY_BEGIN("should not end before they begin") {
        @Override
        void change(List<ObjectNode> tensors) {
            offsets(tensors.getFirst()).set(0, 1L << 40);
        }
    },
    A_NEGATIVE_OFFSET("data_offsets should be a list of whole numbers from 0") {
        @Override
        void change(List<ObjectNode> tensors) {
            offsets(tensors.getFirst()).set(0, -8);
        }
    },
    AN_ABSURD_SIZE("more elements than any file can hold") {
        @Override
        void change(List<ObjectNode> tensors) {
            tensors.getFirst().putArray("shape").add(1L << 40).add(1L << 40);
        }
    },
    A_SIZE_THAT_CONTRADICTS_THE_OFFSETS("bytes, found") {
        @Override
        void change(List<ObjectNode> tensors) {
            tensors.getFirst().putArray("shape").add(1 << 20).add(1 << 20);
        }
    };

    /** What the sentence about it has. */
    final String sentence;

    DamagedTensors(String sentence) {
        this.sentence = sentence;
    }

    /** Damages a file. */
    void inflict(Path file) throws IOException {
        TinyModel.editHeaderJson(file, header -> {
            List<ObjectNode> tensors = new ArrayList<>();
            for (Map.Entry<String, JsonNode> entry : header.properties()) {
                if (!entry.getKey().equals("__metadata__")) {
                    tensors.add((ObjectNode) entry.getValue());
                }
            }
            tensors.sort((a, b) ->
                    Long.compare(offsets(a).get(0).asLong(), offsets(b).get(0).asLong()));
            change(tensors);
        });
    }

    /** Changes the header's tensors, which are in the order of their data. */
    void change(List<ObjectNode> tensors) {}

    private static ArrayNode offsets(ObjectNode tensor) {
        return (ArrayNode) tensor.get("data_offsets");
    }
}
