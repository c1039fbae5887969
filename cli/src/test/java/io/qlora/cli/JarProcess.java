package io.qlora.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** The jar, run as a user runs it, in a process of its own. */
final class JarProcess implements AutoCloseable {

    private static final long PATIENCE_SECONDS = 300;

    private final Process process;
    private final CompletableFuture<String> err;

    private JarProcess(Process process) {
        this.process = process;
        this.err = CompletableFuture.supplyAsync(() -> read(process.getErrorStream()));
    }

    /** How a process ended. */
    record Ended(int status, String out, String err) {}

    /** What to run the jar with, before its own arguments. */
    static List<String> command(Object... arguments) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.add("-XX:-UsePerfData");
        command.add("-jar");
        command.add(System.getProperty("qlora.jar"));
        Arrays.stream(arguments).map(Object::toString).forEach(command::add);
        return command;
    }

    /** A command as a shell takes it. */
    static String inShell(List<String> command) {
        return command.stream().map(word -> "'" + word + "'").collect(Collectors.joining(" "));
    }

    /** Starts a command; its standard error is kept until the end. */
    static JarProcess start(List<String> command) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command);
        List.of("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS").forEach(builder.environment()::remove);
        return new JarProcess(builder.start());
    }

    /** Reads standard output up to a line that has {@code text}. */
    String awaitLine(String text) throws IOException {
        StringBuilder lines = new StringBuilder();
        BufferedReader reader = process.inputReader();
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
            lines.append(line).append('\n');
            if (line.contains(text)) {
                return lines.toString();
            }
        }
        throw new IOException("no line with " + text + " in:\n" + lines + err.join());
    }

    /** Sends a signal to the process, or to the one below it that runs Java. */
    void signal(String name) throws IOException, InterruptedException {
        long java = process.descendants()
                .filter(child -> child.info().command().orElse("").endsWith("java"))
                .mapToLong(ProcessHandle::pid)
                .findFirst()
                .orElse(process.pid());
        new ProcessBuilder("kill", "-" + name, Long.toString(java))
                .inheritIO()
                .start()
                .waitFor();
    }

    /** Waits for the end. */
    Ended await() throws InterruptedException {
        String out = String.join("\n", process.inputReader().lines().toList());
        if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
            throw new IllegalStateException("still running after " + PATIENCE_SECONDS + " s: " + out);
        }
        return new Ended(process.exitValue(), out, err.join());
    }

    private static String read(InputStream stream) {
        try (stream) {
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
    }
}
