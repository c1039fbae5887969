package io.qlora.cuda.emulation;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/** The kernels compiled by g++ against {@code cuemu.h} into a library; each unit anew only when its text has changed. */
public final class EmulatedLibrary {

    private static final List<String> FLAGS = List.of(
            "-std=c++17",
            "-g1",
            "-fPIC",
            "-fno-strict-aliasing",
            "-U_FORTIFY_SOURCE",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Wno-unused-function",
            "-Wno-unknown-pragmas",
            "-Werror",
            "-ffp-contract=off");

    private static final String LAUNCH = "__launch";

    private static SymbolLookup plain;

    private EmulatedLibrary() {}

    /** The library in this JVM; skips the test where g++ is missing. */
    public static synchronized SymbolLookup load() {
        assumeTrue(Toolchain.has("g++"), "g++ is missing: the CUDA kernels are not run on the CPU");
        if (plain == null) {
            plain = SymbolLookup.libraryLookup(build("plain", "-O1"), Arena.global());
        }
        return plain;
    }

    /** The kernels there are: what the sources export. */
    public static Set<String> kernels() {
        assumeTrue(
                Toolchain.has("g++") && Toolchain.has("nm"), "g++ is missing: the CUDA kernels are not run on the CPU");
        try {
            Set<String> kernels = new TreeSet<>();
            for (String line :
                    Toolchain.run("nm", "-D", build("plain", "-O1").toString()).split("\n")) {
                if (line.endsWith(LAUNCH)) {
                    String symbol = line.substring(line.lastIndexOf(' ') + 1);
                    kernels.add(symbol.substring(0, symbol.length() - LAUNCH.length()));
                }
            }
            return kernels;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * Builds the library.
     *
     * @param kind names the folder it is built in
     */
    public static Path build(String kind, String... flags) {
        try (Stream<Path> files = Files.list(Toolchain.kernels())) {
            List<String> link = new ArrayList<>(List.of("g++", "-shared"));
            link.addAll(List.of(flags));
            List<Path> units =
                    files.filter(f -> f.toString().endsWith(".cu")).sorted().toList();
            units.parallelStream()
                    .map(unit -> compile(kind, unit, List.of(flags)).toString())
                    .forEachOrdered(link::add);
            Path library = Toolchain.output("emulated/" + kind + "/" + hash(String.join(" ", link)) + "/libkernels.so");
            if (!Files.exists(library)) {
                link.addAll(List.of("-o", library.toString()));
                Toolchain.run(link);
            }
            return library;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Path compile(String kind, Path unit, List<String> flags) {
        try {
            Path header = Toolchain.source("cuemu.h");
            Path common = Toolchain.kernels().resolve("common.cuh");
            String text = Files.readString(unit) + Files.readString(header) + headers();
            Path object = Toolchain.output("emulated/" + kind + "/"
                    + unit.getFileName().toString().replace(".cu", "") + "-" + hash(text + FLAGS + flags) + ".o");
            if (!Files.exists(object)) {
                List<String> command = new ArrayList<>(List.of("g++", "-c"));
                command.addAll(FLAGS);
                command.addAll(flags);
                command.addAll(List.of("-include", header.toString(), "-include", common.toString()));
                command.addAll(List.of("-x", "c++", unit.toString(), "-o", object.toString()));
                Toolchain.run(command);
            }
            return object;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What a unit may include. */
    private static String headers() throws IOException {
        StringBuilder text = new StringBuilder();
        try (Stream<Path> files = Files.list(Toolchain.kernels())) {
            for (Path header :
                    files.filter(f -> f.toString().endsWith(".cuh")).sorted().toList()) {
                text.append(Files.readString(header));
            }
        }
        return text.toString();
    }

    private static String hash(String text) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest, 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }
}
