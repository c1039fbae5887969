package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * How long a card waits for its host between launches: a second device on the same card whose every launch, a library's, too,
 * and every copy and filling on the card, stands between two events. A gap between two kernels as short as a tenth of all is
 * what the events cost; what is more was spent waiting. Since the events make the host slower, it is an upper bound.
 */
public final class LaunchWaits implements AutoCloseable {

    /** What has the card do something. */
    private static final Set<String> WORK = Set.of("launch", "launchElsewhere", "copyOnDevice", "fill");

    private static final int LOW = 10; // a tenth of the gaps is as long as events make them, or shorter

    private final CudaDevice watched;
    private final CudaDriver driver;
    private final List<Long> events = new ArrayList<>(); // a start and an end a launch
    private int used;
    private boolean watching;

    /** Watches a second device on this card; nothing of the first may be running meanwhile. */
    public LaunchWaits(CudaDevice card) {
        this.driver = card.driver();
        InvocationHandler handler = (proxy, method, arguments) -> call(method, arguments);
        Class<?>[] type = {CudaDriver.class};
        CudaDriver between = (CudaDriver) Proxy.newProxyInstance(type[0].getClassLoader(), type, handler);
        this.watched = CudaDevice.open(between, card.ordinal(), card.code(), card.options());
    }

    private Object call(Method method, Object[] arguments) throws Throwable {
        boolean launch = watching && WORK.contains(method.getName());
        if (launch) {
            record();
        }
        try {
            return method.invoke(driver, arguments);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        } finally {
            if (launch) {
                record();
            }
        }
    }

    private void record() {
        if (used == events.size()) {
            events.add(driver.createEvent(true));
        }
        driver.recordEvent(events.get(used++), watched.stream());
    }

    /** The device that is watched. */
    public CudaDevice card() {
        return watched;
    }

    /** Forgets what was seen, and watches from now on. */
    public void start() {
        used = 0;
        watching = true;
    }

    /**
     * Stops watching.
     *
     * @return the part of the time from the first kernel's start to the last one's end in which the card waited, from 0 to 1
     */
    public double stop() {
        watching = false;
        watched.finish();
        if (used < 4) {
            return 0;
        }
        double[] gaps = new double[used / 2 - 1];
        for (int i = 0; i < gaps.length; i++) {
            gaps[i] = driver.elapsedMillis(events.get(2 * i + 1), events.get(2 * i + 2));
        }
        double[] sorted = gaps.clone();
        Arrays.sort(sorted);
        double usual = sorted[sorted.length / LOW];
        double waited = Arrays.stream(gaps).map(gap -> Math.max(0, gap - usual)).sum();
        double span = driver.elapsedMillis(events.getFirst(), events.get(used - 1)) - usual * gaps.length;
        return span <= 0 ? 0 : waited / span;
    }

    /** Launches, copies and fillings seen since {@link #start}. */
    public int launches() {
        return used / 2;
    }

    @Override
    public void close() {
        watched.close();
        events.forEach(driver::destroyEvent);
    }
}
