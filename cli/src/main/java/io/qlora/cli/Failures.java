package io.qlora.cli;

import io.qlora.trainer.NonFiniteException;
import io.qlora.trainer.data.DataException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.UnmatchedArgumentException;

/** Turns whatever went wrong into one sentence on standard error and an exit code. */
final class Failures {

    static final int FAILED = 1;
    static final int WRONG_USE = 2;

    /** What a shell expects of a process that SIGPIPE ended. */
    static final int READER_GONE = 141;

    private Failures() {}

    /** A command line that does not parse. */
    static int wrongUse(ParameterException e) {
        CommandLine command = e.getCommandLine();
        String sentence = oneLine(e.getMessage());
        if (e instanceof UnmatchedArgumentException unmatched) {
            String given = unmatched.getUnmatched().stream().findFirst().orElse("");
            sentence = isCommand(given, command) ? "Unknown command: '" + given + "'" : sentence;
            sentence += unmatched.getSuggestions().stream()
                    .max(Comparator.comparingInt(alike -> commonPrefix(alike, given)))
                    .map(alike -> "; is it " + alike + "?")
                    .orElse("");
        }
        print(command, sentence + " (" + command.getCommandSpec().qualifiedName() + " --help shows what there is)");
        return WRONG_USE;
    }

    /**
     * Requires that help is asked for of a command there is: picocli shows the help of the one above.
     *
     * @throws UnmatchedArgumentException naming the command that is none
     */
    static void requireKnownCommand(ParseResult parsed) {
        ParseResult last = parsed;
        while (last.hasSubcommand()) {
            last = last.subcommand();
        }
        CommandLine command = last.commandSpec().commandLine();
        List<String> unknown = last.unmatched();
        if (!unknown.isEmpty() && isCommand(unknown.getFirst(), command)) {
            throw new UnmatchedArgumentException(command, unknown);
        }
    }

    /** Whether what {@code above} does not know stands where one of its commands would. */
    private static boolean isCommand(String unknown, CommandLine above) {
        return !above.getSubcommands().isEmpty() && !unknown.startsWith("-");
    }

    private static int commonPrefix(String a, String b) {
        int length = 0;
        while (length < Math.min(a.length(), b.length()) && a.charAt(length) == b.charAt(length)) {
            length++;
        }
        return length;
    }

    /** A command that ran and did not succeed. */
    static int failed(Throwable e, CommandLine command, boolean verbose) {
        print(command, sentence(e));
        if (verbose) {
            e.printStackTrace(command.getErr());
        }
        return e instanceof UsageException ? WRONG_USE : FAILED;
    }

    /**
     * The exit code of a command that ran, once it is known whether what it had to print could be written.
     *
     * @param status what it would be if it could
     */
    static int printed(int status, CommandLine command) {
        if (status != 0 || !command.getOut().checkError()) {
            return status;
        }
        String why = command.getOut() instanceof StandardOutput out && out.failure() != null
                ? ": " + orName(out.failure())
                : "";
        if (why.contains("Broken pipe")) {
            return READER_GONE; // by its own choice, as head's
        }
        print(command, "standard output cannot be written" + why);
        return FAILED;
    }

    /** What {@code e} has to say to a person, on one line. */
    static String sentence(Throwable e) {
        return switch (e) {
            case UncheckedIOException wrapper -> sentence(wrapper.getCause());
            case CompletionException wrapper when wrapper.getCause() != null -> sentence(wrapper.getCause());
            case ExecutionException wrapper when wrapper.getCause() != null -> sentence(wrapper.getCause());
            case FileSystemException file -> file.getFile() + ": " + reason(file);
            case OutOfMemoryError memory
            when isHeap(memory) ->
                "The Java heap is too small (" + memory.getMessage()
                        + "): give it more with java -Xmx, for example -Xmx8g";
            case OutOfMemoryError memory -> "There is not enough memory: " + orName(memory);
            case ExceptionInInitializerError wrapper when wrapper.getCause() != null -> sentence(wrapper.getCause());
            case LinkageError linkage -> "A library cannot be loaded: " + orName(linkage);
            case DataException data -> OptionNames.in(orName(data));
            case NonFiniteException training -> OptionNames.in(orName(training));
            case IOException io -> orName(io);
            case RuntimeException unexpected
            when isOurs(unexpected) -> "An error inside qlora, " + unexpected + "; --verbose shows where";
            default -> orName(e);
        };
    }

    private static boolean isHeap(OutOfMemoryError e) {
        String message = String.valueOf(e.getMessage());
        return message.contains("heap") || message.contains("GC overhead") || message.contains("array size");
    }

    private static String reason(FileSystemException e) {
        if (e.getReason() != null) {
            return e.getReason();
        }
        return switch (e) {
            case NoSuchFileException _ -> "there is no such file or folder";
            case AccessDeniedException _ -> "permission denied";
            case FileAlreadyExistsException _ -> "exists already";
            case NotDirectoryException _ -> "is not a folder";
            case DirectoryNotEmptyException _ -> "is not empty";
            default -> "cannot be used (" + e.getClass().getSimpleName() + ")";
        };
    }

    /** An exception that the program's own mistakes raise, and whose message was not written for a user. */
    private static boolean isOurs(RuntimeException e) {
        return e instanceof NullPointerException
                || e instanceof IndexOutOfBoundsException
                || e instanceof ClassCastException
                || e instanceof ArithmeticException
                || e.getMessage() == null;
    }

    private static String orName(Throwable e) {
        return e.getMessage() == null ? e.getClass().getSimpleName() : oneLine(e.getMessage());
    }

    private static String oneLine(String message) {
        return message.strip().replaceAll("\\s*\\R\\s*", " ");
    }

    private static void print(CommandLine command, String sentence) {
        command.getErr().println("qlora: " + sentence);
        command.getErr().flush();
    }
}
