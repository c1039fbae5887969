package io.qlora.cli;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.Accelerators;
import io.qlora.engine.tensor.Device;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What computes. */
@Command(optionListHeading = "Device:")
final class DeviceOptions {

    private static final String CPU = "cpu";
    private static final int MOST_THREADS = 1024;

    @Option(
            names = "--device",
            defaultValue = CPU,
            paramLabel = "NAME",
            description = "cpu, cuda, or cuda:N for another card than the first (default: ${DEFAULT-VALUE}).")
    private String name;

    @Option(
            names = "--cuda-binding",
            paramLabel = "NAME",
            description = "How CUDA is called: panama, or jcuda (default: panama).")
    private String binding;

    @Option(names = "--threads", paramLabel = "N", description = "Of the processor: how many compute (default: all).")
    private Integer threads;

    /** Requires what can be seen without looking for a card. */
    void check() {
        UsageException.require(
                threads == null || (threads >= 1 && threads <= MOST_THREADS),
                "--threads",
                "from 1 to " + MOST_THREADS,
                threads);
        if (isCpu() && binding != null) {
            throw new UsageException("--cuda-binding goes with --device cuda");
        }
        if (!isCpu() && threads != null) {
            throw new UsageException(
                    "--threads goes with --device cpu: what --device " + name + " computes with is the card");
        }
    }

    private boolean isCpu() {
        return name.equals(CPU);
    }

    /** Threads of the processor that compute, if it is the processor that does. */
    int threads() {
        return threads == null ? Runtime.getRuntime().availableProcessors() : threads;
    }

    /**
     * Opens the device, for the calling thread alone.
     *
     * @throws UsageException if there is no such kind of device, or binding
     * @throws IllegalStateException in one sentence, if it cannot be used
     */
    Device open() {
        return isCpu() ? new CpuDevice(threads()) : UsageException.of(() -> Accelerators.open(name, binding));
    }

    /** As in the first lines of a run. */
    String describe(Device device) {
        Machine machine = Machine.inspect();
        return isCpu() ? machine.summary(threads()) + crowded(machine) : machine.summary(device);
    }

    /** What there is to say of threads that cannot all run at once. */
    private String crowded(Machine machine) {
        return threads() <= machine.processors()
                ? ""
                : String.format(
                        "%n         --threads %d, processors %d: more threads than processors are no faster",
                        threads(), machine.processors());
    }
}
