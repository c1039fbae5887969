package io.qlora.cli;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import jdk.incubator.vector.FloatVector;

/**
 * What this process can use of the machine.
 *
 * @param vectorModule whether the JVM runs with the incubator's vector module
 * @param vectorBits the width of its preferred vectors in bits; 0 without the module
 * @param processors those that the JVM may use, a container's limit counted
 * @param memoryBytes physical memory, a container's limit counted
 * @param maxHeapBytes what of it the Java heap may grow to
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
        long memoryBytes,
        long maxHeapBytes) {

    static Machine inspect() {
        boolean vectorModule =
                ModuleLayer.boot().findModule(Relaunch.VECTOR_MODULE).isPresent();
        return new Machine(
                Runtime.version().toString(),
                System.getProperty("java.vendor"),
                System.getProperty("java.home"),
                System.getProperty("os.name"),
                System.getProperty("os.arch"),
                vectorModule,
                vectorModule ? Vectors.bits() : 0,
                Runtime.getRuntime().availableProcessors(),
                ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getTotalMemorySize(),
                Runtime.getRuntime().maxMemory());
    }

    /** As in the first line of a run: what runs where. */
    String summary(int threads) {
        String vectors = vectorModule ? vectorBits + "-bit vectors" : "no vectors, so slow (see qlora doctor)";
        return "qlora    JDK " + jdk + ", CPU, " + threads + (threads == 1 ? " thread, " : " threads, ") + vectors;
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
