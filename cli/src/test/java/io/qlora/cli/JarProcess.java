package io.qlora.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** The jar, run as a user runs it, in a process of its own. */
final class JarProcess implements AutoCloseable {

    private static final Duration PATIENCE = Duration.ofSeconds(300);

    private final Process process;
    private final BlockingQueue<Optional<String>> out = new LinkedBlockingQueue<>(); // its lines, then an empty one
    private final CompletableFuture<String> err = new CompletableFuture<>();

    private JarProcess(Process process) {
        this.process = process;
        Thread.ofPlatform().daemon().start(this::readLines);
        Thread.ofPlatform().daemon().start(() -> err.complete(read(process.getErrorStream())));
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
    String awaitLine(String text) throws IOException, InterruptedException {
        StringBuilder lines = new StringBuilder();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        for (Optional<String> line = next(deadline); line.isPresent(); line = next(deadline)) {
            lines.append(line.get()).append('\n');
            if (line.get().contains(text)) {
                return lines.toString();
            }
        }
        throw new IOException("no line with " + text + " in:\n" + lines + err());
    }

    /** The next line of standard output; empty at its end. */
    private Optional<String> next(long deadline) throws InterruptedException {
        Optional<String> line = out.poll(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
        if (line == null) {
            throw new IllegalStateException("nothing more on standard output, which is still open");
        }
        return line;
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
        return await(PATIENCE);
    }

    /** Waits for the end, for so long. */
    Ended await(Duration patience) throws InterruptedException {
        long deadline = System.nanoTime() + patience.toNanos();
        if (!process.waitFor(patience.toNanos(), TimeUnit.NANOSECONDS)) {
            throw new IllegalStateException("still running after " + patience + ": " + out);
        }
        List<String> lines = new ArrayList<>();
        for (Optional<String> line = next(deadline); line.isPresent(); line = next(deadline)) {
            lines.add(line.get());
        }
        return new Ended(process.exitValue(), String.join("\n", lines), err());
    }

    /** Standard error; what outlives the process may hold it open. */
    private String err() {
        return err.completeOnTimeout("(standard error is still open)", 10, TimeUnit.SECONDS)
                .join();
    }

    private void readLines() {
        try (BufferedReader reader = process.inputReader(StandardCharsets.UTF_8)) {
            reader.lines().map(Optional::of).forEach(out::add);
        } catch (IOException | UncheckedIOException e) {
            out.add(Optional.of("(reading ended: " + e.getMessage() + ")"));
        } finally {
            out.add(Optional.empty());
        }
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
