/** The command line {@code qlora}: each subcommand is a thin shell over public API. Exports nothing. */
module io.qlora.cli {
    requires io.qlora.cuda;
    requires io.qlora.trainer;
    requires com.fasterxml.jackson.annotation;
    requires com.fasterxml.jackson.databind;
    requires info.picocli;
    requires java.logging;
    requires java.management;
    requires jdk.management;
    requires me.tongfei.progressbar;
    requires static jdk.incubator.vector;

    opens io.qlora.cli to
            com.fasterxml.jackson.databind,
            info.picocli;
}
