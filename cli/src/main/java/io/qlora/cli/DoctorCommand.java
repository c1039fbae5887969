package io.qlora.cli;

import java.io.PrintWriter;
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

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        Machine machine = Machine.inspect();
        if (json) {
            Json.print(machine, out);
            return;
        }
        out.printf("JDK         %s, %s, in %s%n", machine.jdk(), machine.jdkVendor(), machine.jdkHome());
        out.printf("System      %s, %s%n", machine.os(), machine.arch());
        out.printf("Vectors     %s%n", vectors(machine));
        out.printf("Processors  %d%n", machine.processors());
        out.printf(
                "Memory      %s, of which the Java heap may take %s%n",
                gibibytes(machine.memoryBytes()), gibibytes(machine.maxHeapBytes()));
        out.flush();
    }

    private static String vectors(Machine machine) {
        return machine.vectorModule()
                ? machine.vectorBits() + " bits (" + machine.vectorBits() / Float.SIZE + " float32)"
                : "none, so slow: this JVM runs without --add-modules " + Relaunch.VECTOR_MODULE;
    }

    private static String gibibytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30));
    }
}
