package io.qlora.trainer.profile;

import io.qlora.engine.tensor.KernelObserver;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where the time of some steps went, kernel by kernel: an observer to give to
 * {@link io.qlora.engine.tensor.Device#observe Device.observe}.
 */
public final class KernelProfile implements KernelObserver {

    /**
     * What one kernel took of a step, on average.
     *
     * @param kernel the op and the method, as {@code RmsNorm.backward}
     * @param calls in a step
     * @param milliseconds in a step
     * @param gflopS 10⁹ floating-point operations a second; 0 for a kernel that multiplies no matrices
     * @param gbS 10⁹ bytes a second, every operand counted once
     * @param share of the step's time, from 0 to 1
     */
    public record Row(String kernel, double calls, double milliseconds, double gflopS, double gbS, double share) {}

    private record Sum(long calls, long nanoseconds, KernelWork work) {
        Sum plus(Sum more) {
            return new Sum(calls + more.calls, nanoseconds + more.nanoseconds, work.plus(more.work));
        }
    }

    private final Map<String, Sum> sums = new LinkedHashMap<>();

    /** A profile of nothing yet. */
    public KernelProfile() {}

    @Override
    public synchronized void ran(Class<?> contract, Method method, Object[] arguments, long nanoseconds) {
        Class<?> op = contract.getEnclosingClass();
        String kernel = (op == null ? contract : op).getSimpleName() + "." + method.getName();
        KernelWork work = KernelWork.of(contract, method.getName(), arguments);
        sums.merge(kernel, new Sum(1, nanoseconds, work), Sum::plus);
    }

    /**
     * What was seen, the longest first, then {@code outside of kernels} with what is left of the time.
     *
     * @param steps how many were observed
     * @param seconds they took together
     */
    public synchronized List<Row> rows(int steps, double seconds) {
        double inside = sums.values().stream().mapToLong(Sum::nanoseconds).sum() * 1e-9;
        List<Row> rows = new ArrayList<>(sums.entrySet().stream()
                .map(entry -> row(entry.getKey(), entry.getValue(), steps, seconds))
                .sorted(Comparator.comparingDouble(Row::milliseconds).reversed())
                .toList());
        double outside = Math.max(0, seconds - inside);
        rows.add(new Row("outside of kernels", 0, 1e3 * outside / steps, 0, 0, outside / seconds));
        return rows;
    }

    private static Row row(String kernel, Sum sum, int steps, double seconds) {
        double nanoseconds = Math.max(1, sum.nanoseconds);
        return new Row(
                kernel,
                (double) sum.calls / steps,
                nanoseconds * 1e-6 / steps,
                sum.work.flops() / nanoseconds,
                sum.work.bytes() / nanoseconds,
                nanoseconds * 1e-9 / seconds);
    }
}
