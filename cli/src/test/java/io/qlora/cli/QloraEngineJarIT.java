package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code java -jar qlora-engine.jar} does, with no flags, in a process of its own. */
class QloraEngineJarIT {

    private static final Path JAR = Path.of(System.getProperty("qlora.jar"));
    private static final String INCUBATOR_WARNING = "WARNING: Using incubator modules: jdk.incubator.vector";

    @TempDir
    Path folder;

    @Test
    void withoutFlagsItRunsWithTheVectorModuleAndAddsNoLineOfItsOwn() throws Exception {
        Run run = run(Map.of(), "-jar", JAR.toString(), "doctor", "--json");

        assertEquals(0, run.status, run.err);
        assertEquals(INCUBATOR_WARNING, run.err.strip());
        JsonNode report = new ObjectMapper().readTree(run.out);
        assertTrue(report.get("vector_module").asBoolean());
    }

    @Test
    void jvmArgumentsSurvive() throws Exception {
        Run run = run(Map.of(), "-Xmx96m", "-jar", JAR.toString(), "doctor", "--json");

        long heap = new ObjectMapper().readTree(run.out).get("max_heap_bytes").asLong();
        assertTrue(heap <= 96 << 20, run.out);
    }

    @Test
    void argumentsFromTheEnvironmentApplyOnceAndAreAnnouncedOnce() throws Exception {
        Run run = run(
                Map.of("JDK_JAVA_OPTIONS", "-Xmx96m", "JAVA_TOOL_OPTIONS", "-Da=b"),
                "-jar",
                JAR.toString(),
                "doctor",
                "--json");

        long heap = new ObjectMapper().readTree(run.out).get("max_heap_bytes").asLong();
        assertTrue(heap <= 96 << 20, run.out);
        assertEquals(
                2, run.err.lines().filter(line -> line.contains("Picked up")).count(), run.err);
    }

    @Test
    void aFolderWithSpacesAndAClassPathWillDo() throws Exception {
        Path copy = Files.copy(JAR, Files.createDirectory(folder.resolve("a b")).resolve("qlora engine.jar"));
        Run run = run(
                Map.of(),
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                copy.toString(),
                "io.qlora.cli.Main",
                "doctor",
                "--json");

        assertEquals(INCUBATOR_WARNING, run.err.strip());
        assertTrue(new ObjectMapper().readTree(run.out).get("vector_module").asBoolean());
    }

    @Test
    void exitCodesPassThrough() throws Exception {
        Run run = run(Map.of(), "-jar", JAR.toString(), "doctor", "no such argument");

        assertEquals(2, run.status);
        assertTrue(run.err.contains("'no such argument'"), run.err);
    }

    /** The agent holds the second JVM open, tells its process id, and says when it is told to stop. */
    @Test
    void theProcessIsReplacedAndGetsItsSignals() throws Exception {
        assumeFalse(System.getProperty("os.name").startsWith("Windows"), "Windows has no exec");
        Process process = start(Map.of(), "-javaagent:" + agentJar(), "-jar", JAR.toString(), "doctor");
        try (BufferedReader out = process.inputReader()) {
            assertEquals("second " + process.pid(), out.readLine());
            process.toHandle().destroy(); // SIGTERM; process.destroy() would close its streams too

            assertEquals("stopped", out.readLine());
            assertEquals(128 + 15, process.waitFor());
        } finally {
            process.destroyForcibly();
        }
    }

    @Test
    void theJarHoldsLicencesAndNoSignatures() throws IOException {
        try (JarFile jar = new JarFile(JAR.toFile())) {
            List<String> names = jar.stream().map(JarEntry::getName).toList();
            assertTrue(names.containsAll(List.of("META-INF/LICENSE", "META-INF/NOTICE", "META-INF/THIRD-PARTY.txt")));
            assertFalse(names.stream().anyMatch(name -> name.matches("META-INF/[^/]*\\.(SF|DSA|RSA)")));
            assertFalse(names.stream().anyMatch(name -> name.endsWith("module-info.class")));
            assertTrue(names.contains("META-INF/licenses/jcuda.txt"), "the licence of what is in lib");

            String notice = new String(
                    jar.getInputStream(jar.getEntry("META-INF/NOTICE")).readAllBytes(), StandardCharsets.UTF_8);
            assertTrue(notice.startsWith("qlora") && notice.contains("Jackson"), notice);
        }
    }

    @Test
    void theJarHoldsWhatACardNeedsAndNoMore() throws IOException {
        try (JarFile jar = new JarFile(JAR.toFile())) {
            List<String> names = jar.stream().map(JarEntry::getName).toList();
            assertTrue(names.containsAll(List.of(
                    "io/qlora/cuda/CudaAccelerator.class",
                    "io/qlora/cuda/jextract/driver/LibCuda.class",
                    "io/qlora/cuda/kernels/matmul.cu",
                    "jcuda/driver/JCudaDriver.class",
                    "lib/libJCudaDriver-12.6.0-linux-x86_64.so")));
            List<String> natives = names.stream()
                    .filter(name -> name.startsWith("lib/") && name.endsWith(".so"))
                    .filter(name -> !name.matches("lib/lib(JCudaDriver|JCublas2)-12\\.6\\.0-linux-x86_64\\.so"))
                    .toList();
            assertEquals(List.of(), natives);
            assertFalse(names.stream().anyMatch(name -> name.matches("jcuda/(nvptxcompiler|nvrtc)/.*")));
            assertEquals(
                    List.of("org/jline/utils/WCWidth$Interval.class", "org/jline/utils/WCWidth.class"),
                    names.stream()
                            .filter(name -> name.startsWith("org/jline") && name.endsWith(".class"))
                            .sorted()
                            .toList());
            long kernels = names.stream().filter(name -> name.endsWith(".cu")).count();
            long compiled =
                    names.stream().filter(name -> name.endsWith(".fatbin")).count();
            assertTrue(compiled == 0 || compiled == kernels, compiled + " of " + kernels + " kernels are compiled");
        }
    }

    @Test
    void noDriverIsASentenceAndNeverACrash() throws Exception {
        String missing = "-Dqlora.cuda.driver=" + folder.resolve("libcuda.so.1");
        Run doctor = run(Map.of(), missing, "-jar", JAR.toString(), "doctor", "--json");
        String gpu = new ObjectMapper().readTree(doctor.out).get("gpu").asText();
        assertTrue(gpu.startsWith("no GPU: the CUDA driver is not installed, "), gpu);
        for (String binding : List.of("panama", "jcuda")) {
            Run step = run(
                    Map.of(),
                    missing,
                    "-jar",
                    JAR.toString(),
                    "bench",
                    "step",
                    "--device",
                    "cuda",
                    "--cuda-binding",
                    binding);
            assertEquals(1, step.status, step.err);
            assertTrue(step.err.endsWith("qlora: " + gpu + System.lineSeparator()), step.err);
        }
    }

    /** A jar of somebody's own making, without the CUDA module. */
    private Path jarWithoutCuda() throws IOException {
        Path copy = folder.resolve("without.jar");
        try (JarFile jar = new JarFile(JAR.toFile());
                OutputStream file = Files.newOutputStream(copy);
                JarOutputStream out = new JarOutputStream(file, jar.getManifest())) {
            for (JarEntry entry : Collections.list(jar.entries())) {
                String name = entry.getName();
                if (name.matches("META-INF/MANIFEST.MF|io/qlora/cuda/.*|jcuda/.*|lib/.*|.*tensor.Accelerator|.*/")) {
                    continue;
                }
                out.putNextEntry(new JarEntry(name));
                byte[] bytes = jar.getInputStream(entry).readAllBytes();
                if (name.startsWith("META-INF/services/")) {
                    String lines = new String(bytes, StandardCharsets.UTF_8);
                    bytes = lines.replaceAll("(?m)^io\\.qlora\\.cuda\\..*$", "").getBytes(StandardCharsets.UTF_8);
                }
                out.write(bytes);
            }
        }
        return copy;
    }

    @Test
    void withoutTheCudaModuleEverythingElseWorks() throws Exception {
        String jar = jarWithoutCuda().toString();
        Run doctor = run(Map.of(), "-jar", jar, "doctor", "--json");
        assertEquals(
                "no GPU backend in this build",
                new ObjectMapper().readTree(doctor.out).get("gpu").asText(),
                doctor.err);
        for (String what : List.of("step", "gpu")) {
            Run bench = run(Map.of(), "-jar", jar, "bench", what, "--device", "cuda");
            assertEquals(2, bench.status, bench.err);
            assertTrue(bench.err.contains("qlora: --device cuda: this build has no such device, only cpu"), bench.err);
        }
    }

    private Path agentJar() throws IOException {
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
        manifest.getMainAttributes().putValue("Premain-Class", Agent.class.getName());
        Path agent = folder.resolve("agent.jar");
        String entry = Agent.class.getName().replace('.', '/') + ".class";
        try (OutputStream file = Files.newOutputStream(agent);
                JarOutputStream jar = new JarOutputStream(file, manifest)) {
            jar.putNextEntry(new JarEntry(entry));
            try (var in = Agent.class.getClassLoader().getResourceAsStream(entry)) {
                in.transferTo(jar);
            }
        }
        return agent;
    }

    private static Process start(Map<String, String> environment, String... arguments) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command);
        List.of("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS").forEach(builder.environment()::remove);
        builder.environment().putAll(environment);
        return builder.start();
    }

    private Run run(Map<String, String> environment, String... arguments) throws IOException, InterruptedException {
        Process process = start(environment, arguments);
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        String err = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Run(process.waitFor(), out, err);
    }

    private record Run(int status, String out, String err) {}

    /** A Java agent: its premain runs before main, in both JVMs. */
    public static final class Agent {
        private Agent() {}

        public static void premain(String argument) throws InterruptedException {
            if (Boolean.getBoolean(Relaunch.MARK)) {
                Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("stopped")));
                System.out.println("second " + ProcessHandle.current().pid());
                Thread.sleep(60_000);
            }
        }
    }
}
