package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SystemMemoryTest {

    private static final long MIB = 1 << 20;

    @TempDir
    private Path root;

    @BeforeEach
    void aMachineOf100Mebibytes() throws IOException {
        write("proc/meminfo", "MemTotal:  102400 kB\nMemFree: 1024 kB\nMemAvailable:   81920 kB\n");
    }

    private void write(String file, String content) throws IOException {
        Path path = root.resolve(file);
        Files.createDirectories(path.getParent());
        Files.writeString(path, content);
    }

    private long available(long limit) {
        return SystemMemory.available(root, limit * MIB) / MIB;
    }

    @Test
    void whatIsFreeOrCanBeFreedIsThere() {
        assertEquals(80, available(100));
    }

    @Test
    void whatAContainerHasTakenIsNotThere() throws IOException {
        write("sys/fs/cgroup/memory.current", 30 * MIB + "\n");
        write("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file " + 6 * MIB + "\nactive_file " + 4 * MIB + "\n");
        assertEquals(80, available(100), "without a limit");
        assertEquals(30, available(50), "of 50 all but what is in use and no page cache");
    }

    @Test
    void aGroupOfItsOwnCountsAlsoOutsideOfContainers() throws IOException {
        write("proc/self/cgroup", "0::/user.slice/job\n");
        write("sys/fs/cgroup/user.slice/job/memory.current", 30 * MIB + "\n");
        write("sys/fs/cgroup/user.slice/job/memory.stat", "inactive_file 0\n");
        assertEquals(20, available(50));
    }

    @Test
    void theFirstVersionOfControlGroupsSaysTheSame() throws IOException {
        write("proc/self/cgroup", "5:memory:/docker/1\n");
        write("sys/fs/cgroup/memory/memory.usage_in_bytes", 30 * MIB + "\n");
        write("sys/fs/cgroup/memory/memory.stat", "active_file 7\ntotal_active_file " + 10 * MIB + "\n");
        assertEquals(30, available(50));
    }

    @Test
    void whereThereAreNoSuchFilesTheLimitIsAllThatIsKnown() throws IOException {
        Files.delete(root.resolve("proc/meminfo"));
        assertEquals(50, available(50));
    }

    @Test
    void thisMachineHasSomething() {
        assertTrue(SystemMemory.available() > 100 * MIB);
    }
}
