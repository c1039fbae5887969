package io.qlora.lora;

import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.files.FileErrors;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.SafetensorsWriter;
import io.qlora.engine.safetensors.TensorEntry;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** An adapter's directory, as Hugging Face's PEFT writes and reads it. */
public final class PeftFiles {

    /** What the adapter is. */
    public static final String CONFIG = "adapter_config.json";

    /** Its matrices. */
    public static final String WEIGHTS = "adapter_model.safetensors";

    /** What a person reads, and Hugging Face's hub. */
    public static final String CARD = "README.md";

    /** What precedes a module's name in the keys of {@link #WEIGHTS}. */
    static final String PREFIX = "base_model.model.";

    private static final System.Logger LOG = System.getLogger(PeftFiles.class.getName());

    private PeftFiles() {}

    /**
     * Reads what the adapter in a directory is, and warns of what is ignored.
     *
     * @throws MalformedFileException naming file and key: for what is no LoRA adapter, or one that would be computed wrongly
     * @throws IOException in a sentence that names the file, if it cannot be read
     */
    public static LoraConfig readConfig(Path directory) throws IOException {
        FileErrors.requireDirectory(directory);
        Path file = directory.resolve(CONFIG);
        ConfigReader reader = new ConfigReader(file, JsonFiles.readObject(file));
        LoraConfig config = reader.read();
        reader.warnings().forEach(warning -> LOG.log(System.Logger.Level.WARNING, warning));
        return config;
    }

    /** The linears that the adapter in {@code directory} is for. */
    static Targets targets(Path directory, LoraConfig config, List<? extends AdaptableLinear> linears)
            throws MalformedFileException {
        try {
            Targets.requireInside(config);
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(directory.resolve(CONFIG), e.getMessage(), e);
        }
        try {
            return Targets.of(config, linears);
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(
                    directory.resolve(CONFIG), e.getMessage() + ": is this adapter for another model?", e);
        }
    }

    /** Fills A and B of all layers: the file must have exactly these, in these shapes. */
    static void readWeights(Path directory, List<LoraLayer> layers) throws IOException {
        Path path = directory.resolve(WEIGHTS);
        if (Files.notExists(path) && Files.exists(directory.resolve("adapter_model.bin"))) {
            throw new MalformedFileException(
                    directory, "expected " + WEIGHTS + ", found adapter_model.bin: have PEFT save it as safetensors");
        }
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            Set<String> expected = new HashSet<>();
            for (LoraLayer layer : layers) {
                expected.add(layer.nameOfA());
                expected.add(layer.nameOfB());
            }
            for (TensorEntry entry : file.entries()) {
                if (!expected.contains(entry.name())) {
                    throw new MalformedFileException(
                            path,
                            "tensor " + entry.name() + " belongs to no module of this model that " + CONFIG
                                    + " targets: is this adapter for another model?");
                }
            }
            for (LoraLayer layer : layers) {
                requireBoth(file, layer);
                String shapes = "(lora_A is [r, in], lora_B [out, r] of a linear ["
                        + layer.linear().weight().out() + ", "
                        + layer.linear().weight().in() + "])";
                read(file, layer.nameOfA(), layer.matrices().a(), shapes);
                read(file, layer.nameOfB(), layer.matrices().b(), shapes);
            }
        }
    }

    private static void requireBoth(SafetensorsFile file, LoraLayer layer) throws MalformedFileException {
        for (String name : List.of(layer.nameOfA(), layer.nameOfB())) {
            if (!file.contains(name)) {
                throw new MalformedFileException(
                        file.path(),
                        "expected tensor " + name + ", since target_modules mean "
                                + layer.linear().name() + ", found none: is this adapter for another model?");
            }
        }
    }

    private static void read(SafetensorsFile file, String name, Tensor target, String shapes) throws IOException {
        TensorEntry entry = file.entry(name);
        Shape expected = target.shape();
        if (!entry.shape().equals(expected)) {
            throw new MalformedFileException(
                    file.path(),
                    "tensor " + name + ": expected " + expected + " " + shapes + ", found " + entry.shape()
                            + ": is this adapter for another model?");
        }
        target.set(file.readFloats(name));
    }

    /**
     * Writes a directory.
     *
     * @param targets names for {@link TargetModules.AllLinear}
     */
    static void write(Path directory, LoraConfig config, List<String> targets, List<LoraLayer> layers)
            throws IOException {
        boolean carded = Files.exists(directory.resolve(CARD));
        SafetensorsWriter weights = new SafetensorsWriter().metadata("format", "pt");
        for (LoraLayer layer : layers) {
            weights.add(layer.nameOfA(), layer.matrices().a());
            weights.add(layer.nameOfB(), layer.matrices().b());
        }
        AtomicFiles.writeDirectory(directory, staging -> {
            weights.write(staging.resolve(WEIGHTS));
            JsonFiles.write(staging.resolve(CONFIG), ConfigWriter.toJson(config, targets));
            if (!carded) { // a person may have written into it
                AtomicFiles.write(staging.resolve(CARD), ModelCard.of(config, targets));
            }
        });
    }
}
