package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.blas.Blas;
import io.qlora.cuda.blas.StubBlas;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.emulation.WatchedDriver;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Term;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.testing.OnCard;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.lora.LoraLinear;
import io.qlora.nf4.Nf4;
import io.qlora.nf4.Nf4Linear;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Products through the libraries' true bindings, computed on the host by a stub in their place: operand order, leading
 * dimensions, types, factors and accumulation are as they have to be, and a library that fails is done without.
 */
class VendorProductsTest {

    private static final Set<Class<?>> PRODUCTS = Set.of(
            Linear.Kernel.class, LinearCrossEntropy.Kernel.class, Nf4Linear.Kernel.class, LoraLinear.Kernel.class);

    /** As in {@link EmulatedOpsTest}: operands are rounded to bfloat16, in which products through a library add up twice. */
    private static final double BFLOAT16 = 0x1p-7;

    private static CudaDevice card(Blas blas) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 4L << 30, 0);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 16, true, blas));
    }

    private static CudaMatMul forced(CudaDevice card, Route route) {
        CudaMatMul product = CudaMatMul.of(card);
        product.force(route);
        return product;
    }

    /** Integers from −4 to 4: they and their products' sums are exact. */
    private static Tensor integers(String key, DType dtype, ModelMemory memory, int rows, int cols) {
        SplittableRandom random = new SplittableRandom(key.hashCode());
        float[] values = new float[rows * cols];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextInt(9) - 4;
        }
        Tensor full = memory.empty(DType.F32, rows, cols).set(values);
        if (dtype == DType.F32) {
            return full;
        }
        Tensor rounded = memory.empty(dtype, rows, cols);
        new CudaCast((CudaDevice) memory.device()).forward(full, rounded);
        return rounded;
    }

    private static Term term(String key, Form form, DType dtype, ModelMemory memory, int m, int n, int k) {
        boolean tn = form == Form.TN;
        boolean nt = form == Form.NT;
        return new Term(
                Factor.of(integers("a" + key, dtype, memory, tn ? k : m, tn ? m : k)),
                Factor.of(integers("b" + key, dtype, memory, nt ? n : k, nt ? k : n)));
    }

    @ParameterizedTest
    @EnumSource(names = {"CUBLASLT", "JCUBLAS2"})
    void aLibrarysProductsAreOursInEveryFormTypeAndShape(Blas blas) {
        StubBlas stub = StubBlas.install(blas);
        int[][] shapes = {{1, 1, 1}, {3, 5, 7}, {16, 8, 16}, {65, 70, 33}, {24, 96, 40}};
        int products = 0;
        long live = stub.count("live");
        try (CudaDevice card = card(blas);
                ModelMemory memory = new ModelMemory(card)) {
            for (int[] shape : shapes) {
                for (Form form : Form.values()) {
                    for (DType operands : List.of(DType.BF16, DType.F32)) {
                        for (DType result : List.of(DType.BF16, DType.F32)) {
                            for (boolean second : new boolean[] {false, true}) {
                                check(form, shape, operands, result, second, memory);
                                products += second ? 4 : 2;
                            }
                        }
                    }
                }
            }
            assertEquals(products, stub.count("products"), "every product went through the library");
            if (blas == Blas.JCUBLAS2) {
                assertEquals(card.stream(), stub.count("stream"));
            }
        }
        assertEquals(live, stub.count("live"), "every description has been destroyed");
    }

    private static void check(
            Form form, int[] shape, DType operands, DType result, boolean second, ModelMemory memory) {
        CudaDevice card = (CudaDevice) memory.device();
        int m = shape[0];
        int n = shape[1];
        Term first = term("", form, operands, memory, m, n, shape[2]);
        Term low = second ? term("2", form, operands, memory, m, n, 5) : null;
        for (boolean accumulate : new boolean[] {false, true}) {
            float[][] results = new float[2][];
            for (int i = 0; i < 2; i++) {
                CudaMatMul product = forced(card, i == 0 ? Route.TILES : Route.LIBRARY);
                Tensor c = integers("c", result, memory, m, n);
                Grad grad = new Grad(c, accumulate);
                if (second) {
                    product.multiply(form, first, low, 0.5f, grad);
                } else {
                    product.multiply(form, first.a(), first.b(), 0.5f, grad);
                }
                results[i] = c.toFloats();
            }
            String what = form + " " + m + " " + n + " " + shape[2] + " " + operands + " to " + result
                    + (second ? ", two terms" : "") + (accumulate ? ", added" : "");
            if (result == DType.F32) {
                assertArrayEquals(results[0], results[1], what);
            } else { // rounded once more where terms are added apart
                assertClose(results[0], results[1], what);
            }
        }
    }

    private static void assertClose(float[] expected, float[] found, String what) {
        for (int i = 0; i < expected.length; i++) {
            float share = Math.max(1, Math.abs(expected[i]));
            assertEquals(expected[i], found[i], share * BFLOAT16, what);
        }
    }

    @TestFactory
    Stream<DynamicTest> everyProductOfTheOpsAgreesWithTheScalarKernelsThroughCublasLt() {
        return OnCard.cases("io.qlora.engine.ops", "io.qlora.nf4", "io.qlora.lora").stream()
                .filter(test -> PRODUCTS.stream().anyMatch(test.contracts()::contains))
                .filter(test -> !test.toString().equals("Linear of one input and one output")) // see EmulatedOpsTest
                .map(test -> DynamicTest.dynamicTest(test.toString(), () -> throughCublasLt(test)));
    }

    private static void throughCublasLt(OpCase test) {
        StubBlas stub = StubBlas.install(Blas.CUBLASLT);
        CudaDevice card = card(Blas.CUBLASLT);
        forced(card, Route.LIBRARY);
        OnCard.assertAgrees(test, card, BFLOAT16);
        assertTrue(stub.count("products") > 0, "the library was asked");
    }

    @Test
    void aWeightInNf4IsDecodedForTheLibraryAndForOurOwnTiles() {
        StubBlas stub = StubBlas.install(Blas.CUBLASLT);
        try (CudaDevice card = card(Blas.CUBLASLT);
                ModelMemory memory = new ModelMemory(card)) {
            int out = 72;
            int in = 136;
            Tensor dense = memory.empty(DType.F32, out, in).set(OpCase.normal("weight", out, in));
            Nf4Weight w = Nf4.quantize(dense, true, memory, card);
            Tensor x = integers("x", DType.BF16, memory, 9, in);
            Tensor dy = integers("dy", DType.BF16, memory, 9, out);
            List<float[]> forward = new ArrayList<>();
            List<float[]> backward = new ArrayList<>();
            for (Route route : List.of(Route.TILES, Route.DECODED, Route.LIBRARY)) {
                CudaMatMul product = forced(card, route);
                Tensor y = memory.empty(DType.F32, 9, out);
                product.multiply(Form.NT, Factor.of(x), Factor.of(w), 1, new Grad(y, false));
                forward.add(y.toFloats());
                Tensor dx = memory.zeros(DType.F32, 9, in);
                product.multiply(Form.NN, Factor.of(dy), Factor.of(w), 1, new Grad(dx, true));
                backward.add(dx.toFloats());
            }
            assertArrayEquals(forward.get(0), forward.get(1), "our tiles round what they decode in the same way");
            assertArrayEquals(backward.get(0), backward.get(1));
            assertArrayEquals(forward.get(0), forward.get(2), 1e-4f);
            assertArrayEquals(backward.get(0), backward.get(2), 1e-4f);
            assertEquals(2, stub.count("products"));
        }
    }

    @Test
    void anAlgorithmIsAskedForOnceAShape() {
        StubBlas stub = StubBlas.install(Blas.CUBLASLT);
        try (CudaDevice card = card(Blas.CUBLASLT);
                ModelMemory memory = new ModelMemory(card)) {
            CudaMatMul product = forced(card, Route.LIBRARY);
            Term term = term("", Form.NT, DType.BF16, memory, 8, 16, 24);
            Grad c = new Grad(memory.empty(DType.F32, 8, 16), false);
            for (int i = 0; i < 5; i++) {
                product.multiply(Form.NT, term.a(), term.b(), i, c);
            }
            assertEquals(5, stub.count("products"));
            assertEquals(1, stub.count("queries"));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"CUBLASLT", "JCUBLAS2"})
    void aLibraryThatFailsIsDoneWithoutAndSaysSo(Blas blas) {
        StubBlas stub = StubBlas.install(blas);
        try (CudaDevice card = card(blas);
                ModelMemory memory = new ModelMemory(card)) {
            stub.set(true, false);
            check(Form.NN, new int[] {9, 16, 24}, DType.BF16, DType.F32, true, memory);
            assertEquals(0, stub.count("products"));
            String products = CudaMatMul.of(card).products();
            assertTrue(products.contains("failed and is not used again: cublas"), products);
            stub.set(false, false);
            check(Form.NN, new int[] {9, 16, 24}, DType.BF16, DType.F32, true, memory);
            assertEquals(0, stub.count("products"));
        }
    }

    /** An error of a kernel that was begun before is told by whatever is called next: here the library. */
    @Test
    void aLibraryIsNotBlamedForAKernelThatFailedBefore() {
        StubBlas stub = StubBlas.install(Blas.CUBLASLT);
        boolean[] lost = new boolean[1];
        EmulatedDriver real = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
        CudaDriver driver = WatchedDriver.of(real, (method, arguments) -> {
            if (lost[0] && method.equals("synchronizeStream")) {
                throw CudaException.of("cuStreamSynchronize", 700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal access");
            }
            return null;
        });
        CudaDevice.Options options = new CudaDevice.Options(1 << 16, false, Blas.CUBLASLT);
        try (CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), options);
                ModelMemory memory = new ModelMemory(card)) {
            CudaMatMul product = forced(card, Route.LIBRARY);
            Term term = term("", Form.NT, DType.BF16, memory, 8, 16, 24);
            Grad c = new Grad(memory.empty(DType.F32, 8, 16), false);
            product.vendor(); // opens it
            stub.set(true, false);
            lost[0] = true;
            CudaException e =
                    assertThrows(CudaException.class, () -> product.multiply(Form.NT, term.a(), term.b(), 1, c));
            lost[0] = false;
            assertTrue(e.getMessage().contains("CUDA_ERROR_ILLEGAL_ADDRESS"), e.getMessage());
            assertFalse(product.products().contains("not used again"), product.products());
        }
    }

    @Test
    void aShapeWithoutAnAlgorithmTakesOurRoute() {
        StubBlas stub = StubBlas.install(Blas.CUBLASLT);
        try (CudaDevice card = card(Blas.CUBLASLT);
                ModelMemory memory = new ModelMemory(card)) {
            stub.set(false, true);
            check(Form.NT, new int[] {9, 16, 24}, DType.BF16, DType.F32, true, memory);
            assertEquals(0, stub.count("products"));
            assertEquals("cuBLASLt 13.0.2", CudaMatMul.of(card).products());
        }
    }

    @Test
    void withoutALibraryTheReportSaysWhy() {
        try (CudaDevice card = card(Blas.NONE)) {
            assertEquals(
                    "this project's own kernels alone, no library of NVIDIA's: none was asked for",
                    CudaMatMul.of(card).products());
        }
    }

    @Test
    void aCardWithoutRoomToDecodeAWeightDecodesOnTheWay() {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 4L << 20, 0);
        CudaDevice.Options options = new CudaDevice.Options(1 << 12, true);
        try (CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), options);
                ModelMemory memory = new ModelMemory(card)) {
            Nf4Weight w = Nf4.quantize(integers("w", DType.F32, memory, 64, 128), false, memory, card);
            Tensor x = integers("x", DType.BF16, memory, 3, 128);
            Tensor y = memory.empty(DType.F32, 3, 64);
            forced(card, Route.TILES).multiply(Form.NT, Factor.of(x), Factor.of(w), 1, new Grad(y, false));
            float[] expected = y.toFloats();
            memory.empty(DType.U8, (4L << 20) - driver.used() - (8 << 10));
            forced(card, Route.DECODED).multiply(Form.NT, Factor.of(x), Factor.of(w), 1, new Grad(y, false));
            assertArrayEquals(expected, y.toFloats());
        }
    }
}
