package io.qlora.cli;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.sun.management.OperatingSystemMXBean;
import io.qlora.engine.tensor.Accelerator;
import io.qlora.engine.tensor.Accelerators;
import io.qlora.engine.tensor.Device;
import io.qlora.trainer.SystemMemory;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Collectors;
import jdk.incubator.vector.FloatVector;

/**
 * What this process can use of the machine.
 *
 * @param vectorModule whether the JVM runs with the incubator's vector module
 * @param vectorBits the width of its preferred vectors in bits; 0 without the module
 * @param processors those that the JVM may use, a container's limit counted
 * @param machineProcessors those that the machine has, as far as the system tells
 * @param memoryBytes physical memory, a container's limit counted
 * @param memoryAvailableBytes what of it is free now
 * @param maxHeapBytes what of it the Java heap may grow to; tensors are not there
 * @param gpu what there is beside the processor, or why nothing
 * @param gpuSummary the same in a few words
 */
record Machine(
        String jdk,
        String jdkVendor,
        String jdkHome,
        String os,
        String arch,
        boolean vectorModule,
        int vectorBits,
        int processors,
        int machineProcessors,
        long memoryBytes,
        long memoryAvailableBytes,
        long maxHeapBytes,
        String gpu,
        @JsonIgnore String gpuSummary) {

    /** Of a terminal. */
    private static final int WIDTH = 80;

    private static final Path CPUINFO = Path.of("/proc/cpuinfo");

    static Machine inspect() {
        boolean vectorModule =
                ModuleLayer.boot().findModule(Relaunch.VECTOR_MODULE).isPresent();
        List<Accelerator> accelerators = Accelerators.all();
        int processors = Runtime.getRuntime().availableProcessors();
        return new Machine(
                Runtime.version().toString(),
                System.getProperty("java.vendor"),
                System.getProperty("java.home"),
                System.getProperty("os.name"),
                System.getProperty("os.arch"),
                vectorModule,
                vectorModule ? Vectors.bits() : 0,
                processors,
                Math.max(processors, listedProcessors()),
                ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize(),
                SystemMemory.available(),
                Runtime.getRuntime().maxMemory(),
                joined(accelerators, Accelerator::describe),
                joined(accelerators, Accelerator::summary));
    }

    /** What the modules that bring devices of their own say of them. */
    static String joined(List<Accelerator> accelerators, Function<Accelerator, String> words) {
        return accelerators.isEmpty()
                ? "no GPU backend in this build"
                : accelerators.stream().map(words).collect(Collectors.joining("; "));
    }

    private static int listedProcessors() {
        try {
            return Math.toIntExact(Files.readAllLines(CPUINFO).stream()
                    .filter(line -> line.startsWith("processor"))
                    .count());
        } catch (IOException e) {
            return 0; // no Linux: what the JVM may use is all that is known
        }
    }

    /** As in the first line of a run on the processor: what runs where, and what else there is. */
    String summary(int threads) {
        String vectors = vectorModule ? vectorBits + "-bit vectors" : "no vectors, so slow (see qlora doctor)";
        String beside = gpuSummary.startsWith("no ") ? gpuSummary : "not used: " + gpuSummary + " (--device cuda)";
        return summary(threads + (threads == 1 ? " thread" : " threads"), vectors, beside);
    }

    /** As in the first line of a run on an accelerator. */
    String summary(Device device) {
        return summary(device.report().getFirst().split(", "));
    }

    /** What is said after the JDK, on as many lines as a terminal needs for it. */
    private String summary(String... parts) {
        StringBuilder text =
                new StringBuilder("qlora    JDK ").append(jdk.replaceFirst("[-+].*", "")); // without the build
        int start = 0;
        for (String part : parts) {
            boolean fits = text.length() - start + part.length() + 3 <= WIDTH; // a comma may follow
            text.append(fits ? ", " : "," + System.lineSeparator());
            if (!fits) {
                start = text.length();
                text.append("         ");
            }
            text.append(part);
        }
        return text.toString();
    }

    /** The most memory that this process has had resident so far, bytes; 0 where the system does not tell. */
    static long peakResidentBytes() throws IOException {
        Path status = Path.of("/proc/self/status");
        if (!Files.exists(status)) {
            return 0;
        }
        return Files.readAllLines(status).stream()
                .filter(line -> line.startsWith("VmHWM:"))
                .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
                .findFirst()
                .orElse(0);
    }

    /** Apart, because it can be loaded only where the module is. */
    private static final class Vectors {
        static int bits() {
            return FloatVector.SPECIES_PREFERRED.vectorBitSize();
        }
    }
}
