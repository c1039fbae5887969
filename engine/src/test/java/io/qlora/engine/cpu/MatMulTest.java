package io.qlora.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.cpu.Matrices.Matrix;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The product against the same sums in double; errors are held to the bound that float32 arithmetic guarantees. */
class MatMulTest {

    private static final int NR = MatMul.NR;

    private final CpuDevice device = new CpuDevice(3, true);
    private final ModelMemory memory = new ModelMemory(device);
    private final Matrices matrices = new Matrices(memory);
    private final MatMul product = new MatMul(device.workers());

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    @ParameterizedTest(name = "[{0}, {2}] times [{2}, {1}]")
    @CsvSource({
        "1, 1, 1",
        "6, 32, 256",
        "5, 31, 255",
        "7, 33, 257",
        "2, 3, 700",
        "13, 9, 5",
        "50, 16, 40",
        "61, 130, 18",
        "3, 700, 7",
        "200, 20, 33",
        "580, 40, 3",
        "1300, 5, 300"
    })
    void everyOrientationOfEveryShape(int m, int n, int k) {
        for (boolean leftTransposed : new boolean[] {false, true}) {
            for (boolean rightTransposed : new boolean[] {false, true}) {
                Matrix a = matrices.left(m, k, leftTransposed, 1);
                Matrix b = matrices.right(k, n, rightTransposed, DType.F32);
                List<Term> terms = List.of(new Term(a.left(), b.right()));
                for (boolean accumulate : new boolean[] {false, true}) {
                    Tensor c = matrices.random(m, n);
                    Matrices.Expected expected = Matrices.expected(c.toFloats(), accumulate, a, b);
                    product.multiply(terms, c, accumulate);
                    expected.check(c.toFloats());
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F16", "BF16"})
    void sixteenBitWeightsAreWidenedExactly(DType dtype) {
        for (boolean transposed : new boolean[] {false, true}) {
            Matrix a = matrices.left(9, 270, false, 1);
            Matrix b = matrices.right(270, 2 * NR + 5, transposed, dtype);
            Tensor c = matrices.random(9, 2 * NR + 5);
            product.multiply(List.of(new Term(a.left(), b.right())), c, false);
            Matrices.expected(c.toFloats(), false, a, b).check(c.toFloats());
        }
    }

    @Test
    void termsOfDifferentLengthsAreOneSum() {
        Matrix a1 = matrices.left(11, 300, false, 1);
        Matrix b1 = matrices.right(300, 37, true, DType.BF16);
        Matrix a2 = matrices.left(11, 5, true, -0.5f);
        Matrix b2 = matrices.right(5, 37, false, DType.F32);
        Matrix a3 = matrices.left(11, 259, false, 3);
        Matrix b3 = matrices.right(259, 37, true, DType.F32);
        Tensor c = matrices.random(11, 37);
        Matrices.Expected expected = Matrices.expected(c.toFloats(), true, a1, b1, a2, b2, a3, b3);
        List<Term> terms = List.of(
                new Term(a1.left(), b1.right()), new Term(a2.left(), b2.right()), new Term(a3.left(), b3.right()));
        product.multiply(terms, c, true);
        expected.check(c.toFloats());
    }

    @Test
    void nothingToAddIsZero() {
        Tensor c = matrices.random(3, 5);
        product.multiply(
                List.of(new Term(Left.of(matrices.random(3, 0)), DensePanels.rows(matrices.random(0, 5)))), c, false);
        assertArrayEquals(new float[15], c.toFloats());
        Tensor d = matrices.random(3, 5);
        float[] before = d.toFloats();
        product.multiply(List.of(), d, true);
        assertArrayEquals(before, d.toFloats());
    }

    @Test
    void emptyResultsAreFine() {
        Tensor noRows = matrices.random(0, 5);
        product.multiply(
                List.of(new Term(Left.of(matrices.random(0, 4)), DensePanels.rows(matrices.random(4, 5)))),
                noRows,
                true);
        Tensor noColumns = matrices.random(3, 0);
        product.multiply(
                List.of(new Term(Left.of(matrices.random(3, 4)), DensePanels.rows(matrices.random(4, 0)))),
                noColumns,
                true);
    }

    /** Also at the edges, where panels and tiles are filled up with zeros. */
    @Test
    void whatIsNotFiniteSpreadsOverItsRowOrColumnAndNoFurther() {
        int m = 8;
        int n = NR + 3;
        int k = 261;
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
            for (boolean transposed : new boolean[] {false, true}) {
                Matrix a = matrices.left(m, k, transposed, 1);
                Matrix b = matrices.right(k, n, transposed, DType.F32);
                a.set(m - 1, k - 1, bad);
                b.set(k - 1, n - 1, bad);
                Tensor c = matrices.random(m, n);
                product.multiply(List.of(new Term(a.left(), b.right())), c, false);
                for (int i = 0; i < m * n; i++) {
                    boolean touched = i / n == m - 1 || i % n == n - 1;
                    assertEquals(!touched, Float.isFinite(c.get(i)), "element " + i / n + ", " + i % n);
                }
            }
        }
    }

    @Test
    void whatDoesNotFitIsNamed() {
        Left left = Left.of(matrices.random(3, 4));
        PanelSource right = DensePanels.rows(matrices.random(4, 5));
        PanelSource other = DensePanels.rows(matrices.random(6, 5));
        assertEquals(
                "MatMul: depth of the left operand should be 6, found 4",
                assertThrows(IllegalArgumentException.class, () -> new Term(left, other))
                        .getMessage());
        Tensor wrong = matrices.random(5, 3);
        assertEquals(
                "MatMul: result should be F32 [3, 5], found F32 [5, 3]",
                assertThrows(
                                IllegalArgumentException.class,
                                () -> product.multiply(List.of(new Term(left, right)), wrong, false))
                        .getMessage());
    }
}
