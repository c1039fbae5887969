package io.qlora.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import org.openjdk.jmh.runner.RunnerException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The kernels' speed, each next to its bound and its peer, all measured in one run. */
@Command(
        name = "bench/run",
        mixinStandardHelpOptions = true,
        description = {
            "Measures kernels, each next to its bound (FMA peak or memory bandwidth) and, where one exists, a peer;"
                    + " bounds and peers are measured in the same run."
        })
public final class Main implements Callable<Integer> {

    @Parameters(
            paramLabel = "REGEX",
            arity = "0..*",
            description = "What to measure, by a part of its name (default: the short table).")
    private List<String> selection = List.of();

    @Option(names = "--all", description = "Measure everything: every product at every number of rows.")
    private boolean all;

    @Option(
            names = "--launches",
            description =
                    "Measure what a launch of a CUDA kernel costs the host, through both bindings, and nothing else:"
                            + " on a driver that does nothing (needs gcc, no card).")
    private boolean launches;

    @Option(
            names = "--in-turn",
            description = {
                "Measure each subject, its peers and the bounds in turn, in one process: ratios that hold on a machine that"
                        + " others use, too. -i is then the number of rounds (default 15), -r of each subject in each."
            })
    private boolean inTurn;

    @Option(names = "--list", description = "Only say what would be measured.")
    private boolean list;

    @Option(
            names = "--threads",
            split = ",",
            paramLabel = "N",
            description = "How many compute; several one after the other (default: all processors).")
    private List<Integer> threads = List.of(Runtime.getRuntime().availableProcessors());

    @Option(names = "--json", paramLabel = "FILE", description = "Write the figures there, too.")
    private Path json;

    @Option(names = "-f", defaultValue = "1", description = "Processes a figure (default ${DEFAULT-VALUE}).")
    private int forks;

    @Option(names = "-wi", defaultValue = "2", description = "Iterations to warm up (default ${DEFAULT-VALUE}).")
    private int warmups;

    @Option(names = "-i", description = "Iterations that count (default 5).")
    private Integer iterations;

    @Option(names = "-w", defaultValue = "500", description = "Milliseconds of the former (default ${DEFAULT-VALUE}).")
    private int warmupMilliseconds;

    @Option(names = "-r", defaultValue = "100", description = "Milliseconds of the latter (default ${DEFAULT-VALUE}).")
    private int milliseconds;

    private final Table table = new Table(System.out);
    private final List<Measurement> measurements = new ArrayList<>();

    public static void main(String[] args) {
        System.exit(new CommandLine(new Main()).execute(args));
    }

    @Override
    public Integer call() throws Exception {
        List<Subject> subjects = selected();
        if (list) {
            subjects.forEach(subject -> System.out.println(subject.name()));
            return 0;
        }
        Harness harness =
                new Harness(forks, warmups, warmupMilliseconds, iterations == null ? 5 : iterations, milliseconds);
        if (launches) {
            for (String binding : List.of("panama", "jcuda")) {
                System.out.printf(Locale.ROOT, "a launch through %-7s %7.1f ns%n", binding, harness.launch(binding));
            }
            return 0;
        }
        for (int count : threads) {
            table.head();
            if (inTurn) {
                InTurn rounds =
                        new InTurn(iterations == null ? 15 : iterations, milliseconds, warmups * warmupMilliseconds);
                families(subjects)
                        .forEach(family -> rounds.measure(family, count).forEach(this::print));
            } else {
                measure(harness, subjects, count);
            }
        }
        if (json != null) {
            Report.of(measurements).write(json);
        }
        return 0;
    }

    /** What was asked for, each after its peer. */
    private List<Subject> selected() {
        List<Pattern> patterns = selection.stream().map(Pattern::compile).toList();
        Map<String, Subject> byName = new HashMap<>();
        List<Subject> catalogue = Catalogue.subjects();
        catalogue.forEach(subject -> byName.put(subject.name(), subject));
        Set<Subject> wanted = new LinkedHashSet<>();
        for (Subject subject : catalogue) {
            boolean named =
                    patterns.stream().anyMatch(p -> p.matcher(subject.name()).find());
            if (named || (patterns.isEmpty() && (all || subject.brief()))) {
                addAfterPeer(subject, byName, wanted);
            }
        }
        return List.copyOf(wanted);
    }

    /** So that a line can be printed as soon as it is measured. */
    private static void addAfterPeer(Subject subject, Map<String, Subject> byName, Set<Subject> wanted) {
        Subject peer = subject.peer() == null ? null : byName.get(subject.peer());
        if (peer != null) {
            addAfterPeer(peer, byName, wanted);
        }
        wanted.add(subject);
    }

    /** Subjects by what they are all held against in the end. */
    private static Collection<List<Subject>> families(List<Subject> subjects) {
        Map<String, String> roots = new HashMap<>();
        Map<String, List<Subject>> families = new LinkedHashMap<>();
        for (Subject subject : subjects) { // each after its peer
            String root = roots.getOrDefault(subject.peer(), subject.name());
            roots.put(subject.name(), root);
            families.computeIfAbsent(root, _ -> new ArrayList<>()).add(subject);
        }
        return families.values();
    }

    private void measure(Harness harness, List<Subject> subjects, int count) throws RunnerException {
        Map<String, Measurement> bounds = new HashMap<>();
        for (Subject bound : Catalogue.bounds()) {
            Measurement measurement = harness.bound(bound, count);
            bounds.put(bound.name(), measurement);
            print(measurement);
        }
        double peak =
                bounds.values().stream().mapToDouble(Measurement::gflopS).max().orElseThrow();
        double bandwidth =
                bounds.values().stream().mapToDouble(Measurement::gbS).max().orElseThrow();
        Map<String, Measurement> done = new HashMap<>();
        for (Subject subject : subjects) {
            Measurement measurement = harness.measure(subject, count).against(peak, bandwidth);
            Measurement peer = done.get(subject.peer());
            measurement = peer == null ? measurement : measurement.against(peer);
            done.put(subject.name(), measurement);
            print(measurement);
        }
    }

    private void print(Measurement measurement) {
        measurements.add(measurement);
        table.line(measurement);
    }
}
