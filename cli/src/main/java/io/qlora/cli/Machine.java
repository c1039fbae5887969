package io.qlora.cli;

import com.sun.management.OperatingSystemMXBean;
import io.qlora.engine.tensor.Accelerator;
import io.qlora.trainer.SystemMemory;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ServiceLoader;
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
        String gpu) {

    private static final Path CPUINFO = Path.of("/proc/cpuinfo");

    static Machine inspect() {
        boolean vectorModule =
                ModuleLayer.boot().findModule(Relaunch.VECTOR_MODULE).isPresent();
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
                accelerators(ServiceLoader.load(Accelerator.class)));
    }

    /** What the modules that bring devices of their own say of them. */
    static String accelerators(ServiceLoader<Accelerator> found) {
        String all = found.stream().map(provider -> provider.get().describe()).collect(Collectors.joining("; "));
        return all.isEmpty() ? "no GPU backend in this build" : all;
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

    /** As in the first line of a run: what runs where. */
    String summary(int threads) {
        String vectors = vectorModule ? vectorBits + "-bit vectors" : "no vectors, so slow (see qlora doctor)";
        String version = jdk.replaceFirst("[-+].*", ""); // without the build
        String computing = threads + (threads == 1 ? " thread, " : " threads, ") + vectors;
        return "qlora    JDK " + version + ", " + computing + ", " + gpu;
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
