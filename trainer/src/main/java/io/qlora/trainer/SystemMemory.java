package io.qlora.trainer;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;

/** How much memory the machine has to give. */
public final class SystemMemory {

    private static final Path ROOT = Path.of("/");

    private SystemMemory() {}

    /** Bytes that a process could take now: what is free or can be freed, and what is left of a container's limit. */
    public static long available() {
        OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
        return available(ROOT, system.getTotalMemorySize());
    }

    /**
     * The same of a system whose files are below {@code root}. Where Linux's are missing, the limit is what can be known.
     *
     * @param limit the machine's memory, or a container's limit
     */
    static long available(Path root, long limit) {
        Path meminfo = root.resolve("proc/meminfo");
        long machine = kilobytes(meminfo, "MemTotal:").orElse(limit);
        long free = kilobytes(meminfo, "MemAvailable:").orElse(limit);
        return Math.min(free, limit < machine ? limit - usedInGroup(root) : limit);
    }

    /** What the processes of this control group take of its limit; the page cache is given back when it is needed. */
    private static long usedInGroup(Path root) {
        Path group = root.resolve("sys/fs/cgroup"); // in a container its own
        Path own = group.resolve(groupOfThisProcess(root));
        Path v2 = Files.exists(own.resolve("memory.current")) ? own : group;
        OptionalLong current = number(v2.resolve("memory.current"));
        if (current.isPresent()) {
            return current.getAsLong() - cache(v2.resolve("memory.stat"), "");
        }
        Path v1 = group.resolve("memory");
        OptionalLong usage = number(v1.resolve("memory.usage_in_bytes"));
        return usage.isPresent() ? usage.getAsLong() - cache(v1.resolve("memory.stat"), "total_") : 0;
    }

    /** The path of this process's group below that of all, empty if it cannot be told. */
    private static String groupOfThisProcess(Path root) {
        String unified = "0::/";
        return lines(root.resolve("proc/self/cgroup")).stream()
                .filter(line -> line.startsWith(unified))
                .map(line -> line.substring(unified.length()))
                .findFirst()
                .orElse("");
    }

    private static long cache(Path stat, String prefix) {
        return value(stat, prefix + "active_file").orElse(0)
                + value(stat, prefix + "inactive_file").orElse(0);
    }

    private static OptionalLong kilobytes(Path file, String name) {
        OptionalLong value = value(file, name);
        return value.isPresent() ? OptionalLong.of(value.getAsLong() << 10) : value;
    }

    /** The number behind a name at the start of a line. */
    private static OptionalLong value(Path file, String name) {
        return lines(file).stream()
                .map(line -> line.split("\\s+"))
                .filter(words -> words.length > 1 && words[0].equals(name))
                .mapToLong(words -> Long.parseLong(words[1]))
                .findFirst();
    }

    private static OptionalLong number(Path file) {
        return lines(file).stream().mapToLong(Long::parseLong).findFirst();
    }

    private static List<String> lines(Path file) {
        try {
            return Files.readAllLines(file);
        } catch (IOException e) {
            return List.of(); // no Linux, or another layout
        }
    }
}
