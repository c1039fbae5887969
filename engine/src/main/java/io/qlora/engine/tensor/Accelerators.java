package io.qlora.engine.tensor;

import java.util.List;
import java.util.ServiceLoader;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** The {@link Accelerator}s of all modules that are there. */
public final class Accelerators {

    private static final Pattern NAME = Pattern.compile("([a-z]+)(?::(\\d{1,4}))?");

    private Accelerators() {}

    /** All kinds of devices beside the processor. */
    public static List<Accelerator> all() {
        // The class loader that loaded the engine also sees its sibling modules; a caller's context loader may not.
        return ServiceLoader.load(Accelerator.class, Accelerator.class.getClassLoader()).stream()
                .map(ServiceLoader.Provider::get)
                .toList();
    }

    /**
     * Opens a device for the calling thread, which alone may use it.
     *
     * @param device {@code cuda} for the first of its kind, {@code cuda:1} for the second
     * @param binding one of {@link Accelerator#bindings}, or null for the first
     * @throws IllegalArgumentException if there is no such kind of device, or binding; for {@code cpu}, which is made as a
     *     {@link io.qlora.engine.cpu.CpuDevice}
     * @throws IllegalStateException in one sentence, if the device cannot be used
     */
    public static Device open(String device, String binding) {
        Matcher parts = NAME.matcher(device);
        if (!parts.matches()) {
            throw new IllegalArgumentException(
                    "device should be cpu, cuda or, for another card than the first, cuda:1 and so on, found "
                            + device);
        }
        if (parts.group(1).equals("cpu")) {
            throw new IllegalArgumentException(
                    "device should be an accelerator, found " + device + ", which is made by new CpuDevice(threads)");
        }
        List<Accelerator> all = all();
        String kinds = all.stream().map(kind -> ", " + kind.name()).collect(Collectors.joining());
        Accelerator kind = all.stream()
                .filter(each -> each.name().equals(parts.group(1)))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "device " + device + ": this build has no such device, only cpu" + kinds));
        if (binding != null && !kind.bindings().contains(binding)) {
            throw new IllegalArgumentException(
                    "binding should be one of " + String.join(", ", kind.bindings()) + ", found " + binding);
        }
        int ordinal = parts.group(2) == null ? 0 : Integer.parseInt(parts.group(2));
        return kind.open(ordinal, binding == null ? kind.bindings().getFirst() : binding);
    }
}
