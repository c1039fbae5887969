package io.qlora.bench;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.format.OutputFormatFactory;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * Measures a subject by JMH, in processes of its own.
 *
 * @param forks processes, one after the other
 * @param warmups iterations that do not count
 * @param warmupMilliseconds of each of them
 * @param iterations that do count
 * @param milliseconds of each of those
 */
record Harness(int forks, int warmups, int warmupMilliseconds, int iterations, int milliseconds) {

    private static final String[] FLAGS = {
        "--add-modules=jdk.incubator.vector",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow", // JMH's own
        "-XX:+UseSerialGC"
    };
    private static final double NANO = 1e-9;

    /** A bound: its best iteration, for nothing but a disturbance makes it less. */
    Measurement bound(Subject subject, int threads) throws RunnerException {
        return measure(subject, threads, 100);
    }

    /** A figure: the median of its iterations. */
    Measurement measure(Subject subject, int threads) throws RunnerException {
        return measure(subject, threads, 50);
    }

    /** Nanoseconds of a launch of a CUDA kernel through this binding, the median of the iterations. */
    double launch(String binding) throws RunnerException {
        Options options = options(LaunchBenchmark.class, "launch")
                .param("binding", binding)
                .build();
        return run(options).getPrimaryResult().getStatistics().getPercentile(50);
    }

    private Measurement measure(Subject subject, int threads, int percentile) throws RunnerException {
        Options options = options(KernelBenchmark.class, "run")
                .param("subject", subject.name())
                .param("threads", Integer.toString(threads))
                .build();
        RunResult result = run(options);
        double runs = result.getPrimaryResult().getStatistics().getPercentile(percentile); // a second
        double flops = perRun(result, "flops");
        double bytes = perRun(result, "bytes");
        return new Measurement(
                subject.name(), threads, 1e6 / runs, flops * runs * NANO, bytes * runs * NANO, 0, 0, null, null);
    }

    private ChainedOptionsBuilder options(Class<?> benchmark, String method) {
        return new OptionsBuilder()
                .include("^" + benchmark.getName().replace(".", "\\.") + "\\." + method + "$")
                .forks(forks)
                .warmupIterations(warmups)
                .measurementIterations(iterations)
                .warmupTime(TimeValue.milliseconds(warmupMilliseconds))
                .measurementTime(TimeValue.milliseconds(milliseconds))
                .jvmArgs(FLAGS)
                .shouldFailOnError(true);
    }

    /** What the processes print is kept to themselves, unless they fail. */
    private static RunResult run(Options options) throws RunnerException {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream out = new PrintStream(printed, true, StandardCharsets.UTF_8);
        try {
            return new Runner(options, OutputFormatFactory.createFormatInstance(out, VerboseMode.NORMAL)).runSingle();
        } catch (RunnerException e) {
            System.err.print(printed.toString(StandardCharsets.UTF_8));
            throw e;
        }
    }

    private static double perRun(RunResult result, String counter) {
        return result.getSecondaryResults().get(counter).getScore()
                / result.getPrimaryResult().getScore();
    }
}
