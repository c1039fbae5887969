package io.qlora.cli;

import java.io.IOException;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The program's arguments as the operating system has them, in bytes. A string of Java's own has lost what the locale's
 * encoding cannot say.
 */
final class RawArguments {

    private static final Path COMMAND_LINE = Path.of("/proc/self/cmdline"); // on Linux

    private RawArguments() {}

    /**
     * Those of this process.
     *
     * @param args as {@code main} was given them
     * @param encoding of the locale
     */
    static List<byte[]> of(String[] args, Charset encoding) {
        try {
            return of(Files.readAllBytes(COMMAND_LINE), args, encoding);
        } catch (IOException e) {
            return encoded(args, encoding);
        }
    }

    /**
     * Those that a command line ends with, or {@code args} encoded anew if it ends with others: the JVM may have read them
     * from a file.
     *
     * @param commandLine arguments that each end with a null
     */
    static List<byte[]> of(byte[] commandLine, String[] args, Charset encoding) {
        List<byte[]> all = split(commandLine);
        if (all.size() < args.length) {
            return encoded(args, encoding);
        }
        List<byte[]> last = all.subList(all.size() - args.length, all.size());
        for (int i = 0; i < args.length; i++) {
            if (!new String(last.get(i), encoding).equals(args[i])) {
                return encoded(args, encoding);
            }
        }
        return last;
    }

    private static List<byte[]> split(byte[] commandLine) {
        List<byte[]> arguments = new ArrayList<>();
        int start = 0;
        for (int i = 0; i < commandLine.length; i++) {
            if (commandLine[i] == 0) {
                arguments.add(Arrays.copyOfRange(commandLine, start, i));
                start = i + 1;
            }
        }
        return arguments;
    }

    private static List<byte[]> encoded(String[] args, Charset encoding) {
        return Arrays.stream(args).map(arg -> arg.getBytes(encoding)).toList();
    }
}
