package io.qlora.bench;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpReplay;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.ops.testing.OpTests;
import io.qlora.trainer.profile.KernelWork;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The ops by the cases of their tests: what drives oracle and gradients drives the benchmark. */
final class Ops {

    private static final Pattern ADAPTED = Pattern.compile("LoraLinear of NF4, rank \\d+, (M=\\d+, \\d+ -> \\d+)");

    private Ops() {}

    /** Each measured case, forward and backward. */
    static List<Subject> subjects() {
        List<Subject> subjects = new ArrayList<>();
        for (OpTest test : tests()) {
            for (OpCase measured : test.measured()) {
                subjects.add(subject(measured, true));
                if (measured.hasGradient()) {
                    subjects.add(subject(measured, false));
                }
            }
        }
        return subjects;
    }

    private static Subject subject(OpCase measured, boolean forward) {
        String pass = forward ? "forward" : "backward";
        Matcher adapted = ADAPTED.matcher(measured.toString());
        String base = adapted.matches() ? "nf4 " + pass + ", " + adapted.group(1) : null;
        return new Subject(measured + ", " + pass, base, true, device -> new Replayed(measured, forward, device));
    }

    /** Every op's test. */
    static List<OpTest> tests() {
        return OpTests.onClassPath(name -> true);
    }

    /** A case's kernel calls of one direction. */
    private static final class Replayed implements Subject.Prepared {

        private final OpReplay replay;
        private final List<OpReplay.Call> calls;

        Replayed(OpCase measured, boolean forward, CpuDevice device) {
            this.replay = OpReplay.of(measured, device);
            this.calls = forward ? replay.forward() : replay.backward();
        }

        @Override
        public void run() {
            for (OpReplay.Call call : calls) {
                call.run();
            }
        }

        @Override
        public KernelWork work() {
            KernelWork work = KernelWork.NONE;
            for (OpReplay.Call call : calls) {
                work = work.plus(KernelWork.of(call.contract(), call.method().getName(), call.arguments()));
            }
            return work;
        }

        @Override
        public void close() {
            replay.close();
        }
    }
}
