package io.qlora.cli;

import java.util.OptionalInt;

/** The entry of {@code qlora-engine.jar}. */
public final class Main {

    private Main() {}

    /**
     * Runs the command line and ends the process with its exit code: 0, {@value Failures#FAILED} for a failure,
     * {@value Failures#WRONG_USE} for wrong use.
     */
    public static void main(String[] args) {
        OptionalInt elsewhere = Relaunch.withVectors(args);
        System.exit(elsewhere.isPresent() ? elsewhere.getAsInt() : run(args));
    }

    /** What {@link #main} does, in this process, without ending it. */
    static int run(String... args) {
        // The tokenizer's library would otherwise look on the network for a build of itself with CUDA.
        System.setProperty("ai.djl.offline", "true");
        return QloraCommand.commandLine().execute(args);
    }
}
