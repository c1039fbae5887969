package io.qlora.bench;

import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/**
 * A run for machines, with what it ran on.
 *
 * @param date when, UTC
 * @param processor as the system calls it
 * @param processors how many of them this process may use
 * @param vectorBits of the widest float vectors
 * @param jvmOptions of all processes, from the environment; null for none
 */
record Report(
        String date,
        String processor,
        int processors,
        int vectorBits,
        String jdk,
        String system,
        String jvmOptions,
        List<Measurement> measurements) {

    static Report of(List<Measurement> measurements) throws IOException {
        return new Report(
                Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(),
                processorName(),
                Runtime.getRuntime().availableProcessors(),
                FloatVector.SPECIES_PREFERRED.vectorBitSize(),
                System.getProperty("java.vm.name") + " " + Runtime.version(),
                System.getProperty("os.name") + " " + System.getProperty("os.arch"),
                System.getenv("JDK_JAVA_OPTIONS"),
                measurements);
    }

    void write(Path file) throws IOException {
        if (file.getParent() != null) {
            Files.createDirectories(file.getParent());
        }
        JsonMapper mapper = JsonMapper.builder()
                .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
                .build();
        mapper.writerWithDefaultPrettyPrinter().writeValue(file.toFile(), this);
    }

    private static String processorName() throws IOException {
        Path info = Path.of("/proc/cpuinfo");
        if (!Files.exists(info)) {
            return "unknown";
        }
        return Files.readAllLines(info).stream()
                .filter(line -> line.startsWith("model name"))
                .map(line -> line.substring(line.indexOf(':') + 1).strip())
                .findFirst()
                .orElse("unknown");
    }
}
