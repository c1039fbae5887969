package io.qlora.llama;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;

/** Models for tests, and what they compute. */
final class Models {

    static final LoadOptions DENSE =
            LoadOptions.builder().quantization(LoadOptions.Quantization.NONE).build();

    private Models() {}

    /** A small shape in which no two extents are equal: C 12, H·D 16, K·D 8, F 20, V 23. */
    static LlamaConfig.Builder small() {
        return LlamaConfig.builder()
                .vocabSize(23)
                .hiddenSize(12)
                .intermediateSize(20)
                .numHiddenLayers(2)
                .numAttentionHeads(4)
                .numKeyValueHeads(2)
                .headDim(4)
                .maxPositionEmbeddings(64)
                .initializerRange(0.3)
                .bosTokenId(OptionalInt.of(1))
                .eosTokenIds(List.of(2));
    }

    /** Writes a random model. */
    static Path write(Path directory, LlamaConfig config, CpuDevice device) throws IOException {
        try (LlamaModel model = LlamaModel.random(config, 7, device)) {
            model.save(directory, DType.F32);
        }
        return directory;
    }

    /** A copy of a model's files, to be spoilt. */
    static Path copy(Path model, Path directory) throws IOException {
        Files.createDirectories(directory);
        try (Stream<Path> files = Files.list(model)) {
            for (Path file : files.toList()) {
                Files.copy(file, directory.resolve(file.getFileName()));
            }
        }
        return directory;
    }

    /** Replaces text in a file; fails if it is not there. */
    static void edit(Path file, String from, String to) throws IOException {
        String text = Files.readString(file);
        if (!text.contains(from)) {
            throw new IllegalArgumentException(file + " does not contain " + from);
        }
        Files.writeString(file, text.replace(from, to));
    }

    /** The logits [T·V] of one document. */
    static float[] logits(LlamaModel model, int... ids) {
        try (StepMemory memory = new StepMemory(model.device());
                Tape tape = Tape.inference(memory)) {
            Sequences sequences = Sequences.of(memory.activations(), 0, ids.length);
            Tensor x = model.forward(
                    tape, tape.empty(DType.I32, ids.length).set(ids), sequences, null, Checkpointing.NONE);
            return model.logits(tape, x).toFloats();
        }
    }

    /** The logits of one document by the model in a directory. */
    static float[] logits(Path directory, LoadOptions options, CpuDevice device, int... ids) throws IOException {
        try (LlamaModel model = LlamaModel.load(directory, options, device)) {
            return logits(model, ids);
        }
    }

    static double largestDifference(float[] expected, float[] actual) {
        if (expected.length != actual.length) {
            throw new IllegalArgumentException("expected " + expected.length + " elements, found " + actual.length);
        }
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            double difference = Math.abs((double) expected[i] - actual[i]);
            largest = difference <= largest ? largest : difference; // a NaN stays
        }
        return largest;
    }
}
