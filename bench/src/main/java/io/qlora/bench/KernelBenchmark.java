package io.qlora.bench;

import io.qlora.engine.cpu.CpuDevice;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** Runs one {@link Subject} of the {@link Catalogue}; results are in memory that outlives the run. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
public class KernelBenchmark {

    /** What a run had to do: JMH divides both by time. */
    @AuxCounters(AuxCounters.Type.OPERATIONS)
    @State(Scope.Thread)
    public static class Counters {
        public long flops;
        public long bytes;
    }

    /** The subject's name. */
    @Param("")
    public String subject;

    /** How many threads compute. */
    @Param("1")
    public int threads;

    private CpuDevice device;
    private Subject.Prepared prepared;
    private long flops;
    private long bytes;

    @Setup
    public void prepare() {
        device = new CpuDevice(threads);
        prepared = Catalogue.find(subject).preparation().on(device);
        flops = Math.round(prepared.work().flops());
        bytes = Math.round(prepared.work().bytes());
    }

    @Benchmark
    public void run(Counters counters) {
        prepared.run();
        counters.flops += flops;
        counters.bytes += bytes;
    }

    @TearDown
    public void close() {
        prepared.close();
        device.close();
    }
}
