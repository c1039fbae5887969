package io.qlora.cli;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/** What the libraries warn of, for a person: a line on standard error, and once. */
final class Warnings extends Handler {

    private final SimpleFormatter formatter = new SimpleFormatter();
    private final Set<String> told = ConcurrentHashMap.newKeySet();

    private Warnings() {
        setLevel(Level.WARNING);
    }

    /** Takes the place of the JDK's handlers, unless whoever started the JVM has configured logging. */
    static void install() {
        if (System.getProperty("java.util.logging.config.file") == null) {
            Logger root = Logger.getLogger("");
            for (Handler handler : root.getHandlers()) {
                root.removeHandler(handler);
            }
            root.addHandler(new Warnings());
        }
    }

    @Override
    public void publish(LogRecord record) {
        String message = formatter.formatMessage(record);
        if (isLoggable(record) && told.add(message)) {
            System.err.println("qlora: " + message);
        }
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
}
