package io.qlora.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.lang.ProcessBuilder.Redirect;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;
import me.tongfei.progressbar.ProgressBarConsumer;

/**
 * The line of a terminal that a progress bar is written to again and again, and that is gone in the end. In place of the
 * progress bar library's own, whose terminal library takes Ctrl-C away from the JVM.
 */
final class TerminalLine implements ProgressBarConsumer {

    private static final int USUAL = 80;

    private final PrintStream terminal;
    private final int width;

    /** A line on {@code terminal}, as wide as it is now. */
    TerminalLine(PrintStream terminal) {
        this.terminal = terminal;
        this.width = columns() - 1; // at the last column the cursor may jump
    }

    /**
     * Standard output or error, if a person sees what is written to it.
     *
     * @param error whether standard error is meant
     */
    static Optional<PrintStream> standard(boolean error) {
        boolean seen = CLibrary.isTerminal(error ? 2 : 1).orElseGet(TerminalLine::isConsole);
        return seen ? Optional.of(error ? System.err : System.out) : Optional.empty();
    }

    /** What Java itself knows: whether both standard input and standard output are a terminal's. */
    private static boolean isConsole() {
        return System.console() != null && System.console().isTerminal();
    }

    /** As the system's own tool tells; on Windows, which has none, what is usual. */
    private static int columns() {
        ProcessBuilder stty = new ProcessBuilder("stty", "size")
                .redirectInput(Redirect.from(Path.of("/dev/tty").toFile()))
                .redirectError(Redirect.DISCARD);
        try {
            Process process = stty.start();
            String size = new String(process.getInputStream().readAllBytes(), StandardCharsets.US_ASCII).strip();
            int columns = size.matches("\\d+ \\d{1,6}") ? Integer.parseInt(size.substring(size.indexOf(' ') + 1)) : 0;
            return columns > 1 ? columns : USUAL;
        } catch (IOException e) {
            return USUAL;
        }
    }

    @Override
    public int getMaxRenderedLength() {
        return width - 2; // a terminal shows Ctrl-C as ^C, behind the cursor
    }

    @Override
    public void accept(String line) {
        terminal.print("\r" + line.substring(0, Math.min(line.length(), width)));
        terminal.flush();
    }

    @Override
    public void close() {
        terminal.print("\r" + " ".repeat(width) + "\r");
        terminal.flush();
    }
}
