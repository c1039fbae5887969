package io.qlora.trainer;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much memory the machine has to give. */
public final class SystemMemory {

    private static final Path MEMINFO = Path.of("/proc/meminfo");

    private SystemMemory() {}

    /** Bytes that a process could take now: what is free or can be freed, within a container's limit. */
    public static long available() {
        OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
        long limit = system.getTotalMemorySize();
        try {
            for (String line : Files.readAllLines(MEMINFO)) {
                if (line.startsWith("MemAvailable:")) {
                    return Math.min(limit, Long.parseLong(line.replaceAll("\\D", "")) << 10);
                }
            }
        } catch (IOException e) {
            // No Linux: there is no such file, and the total is what can be known.
        }
        return limit;
    }
}
