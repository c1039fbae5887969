package io.qlora.cli;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.PlanningDevice;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Which adapter to put on the model, if any. */
@Command(optionListHeading = "Adapter:")
final class AdapterOption {

    @Option(names = "--adapter", paramLabel = "DIR", description = "A PEFT directory: the adapter to put on the model.")
    private Path directory;

    /** Requires what can be seen from outside. */
    void check() {
        if (directory != null) {
            Paths.requireAdapter(directory);
        }
    }

    /** The adapter's directory, or null. */
    Path directory() {
        return directory;
    }

    /**
     * Requires the adapter, if one was named, to be whole and for this kind of model: before the model, which may take
     * minutes, is loaded.
     *
     * @throws IOException naming file and tensor
     */
    void requireFor(Path model, LoadOptions options) throws IOException {
        if (directory != null) {
            try (PlanningDevice device = new PlanningDevice();
                    LlamaModel planned = LlamaModel.plan(model, options, device);
                    ModelMemory memory = new ModelMemory(device)) {
                LoraAdapter.load(directory, planned.linears(), memory);
            }
        }
    }

    /** Puts the adapter on {@code model}, if one was named. */
    void attach(LlamaModel model, ModelMemory memory) throws IOException {
        if (directory != null) {
            LoraAdapter.load(directory, model.linears(), memory).attach();
        }
    }
}
