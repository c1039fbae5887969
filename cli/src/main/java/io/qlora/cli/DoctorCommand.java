package io.qlora.cli;

import com.fasterxml.jackson.annotation.JsonUnwrapped;
import io.qlora.llama.LlamaTokenizer;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora doctor}: what of this machine will be used, and why not more. */
@Command(name = "doctor", description = "Shows what of this machine will be used, and why not more.")
final class DoctorCommand implements Runnable {

    @Option(names = "--json", description = "Print one JSON object.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    /**
     * What was found.
     *
     * @param copyBytesPerSecond what all processors together copy in memory, measured now
     * @param tokenizer whether the tokenizer's native library loads, and why not
     */
    record Report(@JsonUnwrapped Machine machine, double copyBytesPerSecond, String tokenizer) {}

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        Machine machine = Machine.inspect();
        Report report = new Report(machine, MemorySpeed.measure(machine.processors()), tokenizer());
        if (json) {
            Json.print(report, out);
            return;
        }
        out.printf("JDK         %s, %s, in %s%n", machine.jdk(), machine.jdkVendor(), machine.jdkHome());
        out.printf("System      %s, %s%n", machine.os(), machine.arch());
        out.printf("Vectors     %s%n", vectors(machine));
        out.printf("Processors  %s%n", processors(machine));
        out.printf(
                "Memory      %s, %s of it free now; tensors are outside the Java heap,%n            which may take %s%n",
                InWords.bytes(machine.memoryBytes()),
                InWords.bytes(machine.memoryAvailableBytes()),
                InWords.bytes(machine.maxHeapBytes()));
        out.printf(Locale.ROOT, "            copying %.1f GB/s, measured now%n", report.copyBytesPerSecond() * 1e-9);
        out.printf("GPU         %s%n", machine.gpu());
        out.printf("Tokenizer   %s%n", report.tokenizer());
        out.flush();
    }

    private static String vectors(Machine machine) {
        if (!machine.vectorModule()) {
            return "none, so many times slower: this JVM runs without --add-modules " + Relaunch.VECTOR_MODULE;
        }
        String used = machine.vectorBits() + " bits (" + machine.vectorBits() / Float.SIZE + " float32)";
        return machine.vectorBits() < 512 && hasAvx512()
                ? used
                        + "; the processor has 512, this JVM was told or chose to use fewer: see -XX:UseAVX and -XX:MaxVectorSize"
                : used;
    }

    private static boolean hasAvx512() {
        try {
            return Files.readString(Path.of("/proc/cpuinfo")).contains(" avx512f ");
        } catch (IOException e) {
            return false; // no Linux: not known
        }
    }

    private static String processors(Machine machine) {
        return machine.processors() == machine.machineProcessors()
                ? "all " + machine.processors()
                : machine.processors() + " of the machine's " + machine.machineProcessors()
                        + ": a container's limit, the process's affinity or -XX:ActiveProcessorCount leaves it no more";
    }

    private static String tokenizer() {
        try {
            LlamaTokenizer.requireLibrary();
            return "its native library loads";
        } catch (IOException e) {
            return e.getMessage();
        }
    }
}
