package io.qlora.cli;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.llama.LlamaModel;
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

    /** Puts the adapter on {@code model}, if one was named. */
    void attach(LlamaModel model, ModelMemory memory) throws IOException {
        if (directory != null) {
            LoraAdapter.load(directory, model.linears(), memory).attach();
        }
    }
}
