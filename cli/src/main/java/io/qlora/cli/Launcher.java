package io.qlora.cli;

/**
 * What {@code java -jar} starts. Compiled for Java 8, unlike everything else, so that a Java which is too old says so in a
 * sentence.
 */
public final class Launcher {

    private static final int OLDEST = 25;

    private Launcher() {}

    /** Runs {@link Main}, or ends with exit code 1. */
    public static void main(String[] args) throws ReflectiveOperationException {
        if (isTooOld(System.getProperty("java.specification.version"))) {
            System.err.println("qlora: needs Java " + OLDEST + " or newer, this is Java "
                    + System.getProperty("java.version") + " in " + System.getProperty("java.home")
                    + ": start it with the java of a newer JDK");
            System.exit(1);
        }
        // By name: this is compiled apart from the rest.
        Class.forName("io.qlora.cli.Main").getMethod("main", String[].class).invoke(null, (Object) args);
    }

    /** Whether {@code specification}, as 1.8, 9 or 25, is of a Java before the oldest that will do. */
    static boolean isTooOld(String specification) {
        return Double.parseDouble(specification) < OLDEST;
    }
}
