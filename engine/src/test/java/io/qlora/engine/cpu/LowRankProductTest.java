package io.qlora.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.LowRankProduct.Gradients;
import io.qlora.engine.cpu.Matrices.Expected;
import io.qlora.engine.cpu.Matrices.Matrix;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The weight and its adapter against the same sums in double. */
class LowRankProductTest {

    private static final float SCALE = 2.5f;

    private final CpuDevice device = new CpuDevice(3, true);
    private final ModelMemory memory = new ModelMemory(device);
    private final Matrices matrices = new Matrices(memory);
    private final LowRankProduct product = new LowRankProduct(device.workers());

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    @ParameterizedTest(name = "[{0}, {2}] times [{2}, {1}], rank {3}")
    @CsvSource({
        "1, 1, 1, 1",
        "7, 40, 300, 3",
        "50, 33, 64, 8",
        "600, 70, 257, 16",
        "20, 5, 12, 50",
        "1, 1, 560, 32",
        "256, 31, 256, 17"
    })
    void forwardIsTheWeightAndItsAdapter(int m, int n, int k, int r) {
        Matrix x = matrices.left(m, k, false, 1);
        Matrix w = matrices.right(k, n, true, DType.BF16);
        Matrix down = matrices.right(k, r, true, DType.F32);
        Matrix up = matrices.right(r, n, true, DType.F32);
        Tensor u = matrices.random(m, r);
        Tensor y = matrices.random(m, n);
        product.forward(x.tensor(), w.right(), down.right(), SCALE, u, up.right(), y);
        Matrices.expected(u.toFloats(), false, x, down).check(u.toFloats());
        Matrix scaled = new Matrix(u, m, r, false, SCALE);
        Matrices.expected(y.toFloats(), false, x, w, scaled, up).check(y.toFloats());
    }

    @ParameterizedTest(name = "{0} rows, {1} -> {2}, rank {3}")
    @CsvSource({
        "1, 1, 1, 1",
        "7, 40, 300, 3",
        "50, 33, 64, 8",
        "257, 70, 100, 16",
        "600, 10, 257, 33",
        "1200, 9, 13, 5",
        "20, 5, 12, 50"
    })
    void backwardIsAllGradients(int m, int in, int out, int r) {
        Matrix dy = matrices.left(m, out, false, 1);
        Matrix w = matrices.right(out, in, false, DType.F32);
        Matrix b = matrices.right(out, r, false, DType.F32);
        Matrix a = matrices.right(r, in, false, DType.F32);
        Matrix u = matrices.right(m, r, false, DType.F32);
        Matrix x = matrices.right(m, in, false, DType.F32);
        Tensor v = matrices.random(m, r);
        for (boolean accumulate : new boolean[] {false, true}) {
            Tensor dx = matrices.random(m, in);
            Tensor db = matrices.random(out, r);
            Tensor da = matrices.random(r, in);
            float[] dxBefore = dx.toFloats();
            float[] dbBefore = db.toFloats();
            float[] daBefore = da.toFloats();
            Gradients more = new Gradients(u.tensor(), new Grad(db, accumulate), x.tensor(), new Grad(da, accumulate));
            Grad wanted = new Grad(dx, accumulate);
            product.backward(dy.tensor(), w.right(), b.right(), SCALE, v, a.right(), wanted, more);
            Matrices.expected(v.toFloats(), false, dy, b).check(v.toFloats());
            Matrix scaled = new Matrix(v, m, r, false, SCALE);
            Matrices.expected(dxBefore, accumulate, dy, w, scaled, a).check(dx.toFloats());
            Matrix dyT = new Matrix(dy.tensor(), out, m, true, SCALE);
            Matrices.expected(dbBefore, accumulate, dyT, u).check(db.toFloats());
            Matrix vT = new Matrix(v, r, m, true, SCALE);
            Matrices.expected(daBefore, accumulate, vT, x).check(da.toFloats());
        }
    }

    @Test
    void whatIsNotWantedChangesNothingElse() {
        int m = 40;
        Tensor dy = matrices.random(m, 70);
        Tensor w = matrices.random(70, 50);
        Tensor b = matrices.random(70, 16);
        Tensor a = matrices.random(16, 50);
        Tensor u = matrices.random(m, 16);
        Tensor x = matrices.random(m, 50);
        Tensor v = matrices.random(m, 16);
        List<Tensor> all = List.of(matrices.random(m, 50), matrices.random(70, 16), matrices.random(16, 50));
        backward(dy, w, b, v, a, u, x, all, 7);
        for (int wanted = 0; wanted < 7; wanted++) {
            List<Tensor> some = List.of(matrices.random(m, 50), matrices.random(70, 16), matrices.random(16, 50));
            List<float[]> before = some.stream().map(Tensor::toFloats).toList();
            backward(dy, w, b, v, a, u, x, some, wanted);
            for (int i = 0; i < 3; i++) {
                float[] expected = (wanted >> i & 1) == 1 ? all.get(i).toFloats() : before.get(i);
                assertArrayEquals(expected, some.get(i).toFloats(), "gradient " + i + " of " + wanted);
            }
        }
    }

    private void backward(
            Tensor dy, Tensor w, Tensor b, Tensor v, Tensor a, Tensor u, Tensor x, List<Tensor> to, int wanted) {
        Grad dx = (wanted & 1) == 0 ? null : new Grad(to.get(0), false);
        Grad db = (wanted & 2) == 0 ? null : new Grad(to.get(1), false);
        Grad da = (wanted & 4) == 0 ? null : new Grad(to.get(2), false);
        PanelSource panelsOfA = DensePanels.backward(a);
        PanelSource panelsOfB = DensePanels.backward(b);
        Gradients more = new Gradients(u, db, x, da);
        product.backward(dy, DensePanels.backward(w), panelsOfB, SCALE, v, panelsOfA, dx, more);
    }

    /** Where the adapter's input drops, dx lacks the adapter's part. */
    @Test
    void withoutAThereIsTheWeightAlone() {
        Matrix dy = matrices.left(40, 300, false, 1);
        Matrix w = matrices.right(300, 50, false, DType.F32);
        Matrix b = matrices.right(300, 16, false, DType.F32);
        Tensor v = matrices.random(40, 16);
        Tensor dx = matrices.random(40, 50);
        Expected expected = Matrices.expected(dx.toFloats(), true, dy, w);
        Gradients none = new Gradients(null, null, null, null);
        product.backward(dy.tensor(), w.right(), b.right(), SCALE, v, null, new Grad(dx, true), none);
        Matrices.expected(v.toFloats(), false, dy, b).check(v.toFloats());
        expected.check(dx.toFloats());
    }

    /** Of dy alone, with nothing packed behind it: a tile may end behind the last row. */
    @ParameterizedTest(name = "{0} rows of {1}")
    @CsvSource({"60, 281", "60, 288", "6, 543", "12, 25", "576, 800"})
    void dbIsOfDyAloneWhateverItsWidth(int m, int out) {
        Matrix dy = matrices.left(m, out, false, 1);
        Matrix w = matrices.right(out, 20, false, DType.F32);
        Matrix b = matrices.right(out, 8, false, DType.F32);
        Matrix u = matrices.right(m, 8, false, DType.F32);
        Tensor v = matrices.random(m, 8);
        for (boolean dxWanted : new boolean[] {false, true}) {
            Tensor db = matrices.random(out, 8);
            Gradients more = new Gradients(u.tensor(), new Grad(db, false), null, null);
            Grad dx = dxWanted ? new Grad(matrices.random(m, 20), false) : null;
            HeapArrays.clear();
            product.backward(dy.tensor(), w.right(), b.right(), SCALE, v, null, dx, more);
            Matrix dyT = new Matrix(dy.tensor(), out, m, true, SCALE);
            Matrices.expected(db.toFloats(), false, dyT, u).check(db.toFloats());
        }
    }

    @Test
    void threadsDoNotShowInTheBits() {
        Operands operands = new Operands(300);
        List<float[]> expected = null;
        for (int threads = 1; threads <= 4; threads++) {
            try (CpuDevice some = new CpuDevice(threads, true)) {
                List<float[]> found = operands.both(new LowRankProduct(some.workers()));
                expected = expected == null ? found : expected;
                assertEqual(expected, found);
            }
        }
    }

    @Test
    void twoCallersAtATimeDoNotDisturbEachOther() {
        Operands one = new Operands(100);
        Operands two = new Operands(90);
        List<float[]> expected1 = one.both(product);
        List<float[]> expected2 = two.both(product);
        for (int i = 0; i < 20; i++) {
            CompletableFuture<List<float[]>> other = CompletableFuture.supplyAsync(() -> two.both(product));
            assertEqual(expected1, one.both(product));
            assertEqual(expected2, other.join());
        }
    }

    private static void assertEqual(List<float[]> expected, List<float[]> found) {
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), found.get(i), "result " + i);
        }
    }

    private final class Operands {

        final Tensor x;
        final Tensor w = matrices.random(130, 301);
        final Tensor a = matrices.random(7, 301);
        final Tensor b = matrices.random(130, 7);

        Operands(int rows) {
            this.x = matrices.random(rows, 301);
        }

        /** u, y, and, with y for dy, the gradients. */
        synchronized List<float[]> both(LowRankProduct any) {
            Tensor u = memory.empty(DType.F32, x.rows(), 7);
            Tensor y = memory.empty(DType.F32, x.rows(), 130);
            any.forward(x, DensePanels.forward(w), DensePanels.forward(a), 2, u, DensePanels.forward(b), y);
            Tensor v = memory.empty(DType.F32, x.rows(), 7);
            Tensor dx = memory.empty(DType.F32, x.rows(), 301);
            Tensor da = memory.empty(DType.F32, 7, 301);
            Tensor db = memory.empty(DType.F32, 130, 7);
            Gradients more = new Gradients(u, new Grad(db, false), x, new Grad(da, false));
            PanelSource panelsOfA = DensePanels.backward(a);
            PanelSource panelsOfB = DensePanels.backward(b);
            any.backward(y, DensePanels.backward(w), panelsOfB, 2, v, panelsOfA, new Grad(dx, false), more);
            return List.of(u, y, v, dx, da, db).stream().map(Tensor::toFloats).toList();
        }
    }
}
