package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.testing.OnCard;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.DType;
import io.qlora.lora.LoraLinear;
import io.qlora.nf4.Nf4;
import io.qlora.nf4.Nf4Linear;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * Every op case of every module on the emulated card, against the CPU's scalar kernels: with float32 activations in three
 * orders of threads, and with bfloat16 ones; products of these are seen in three orders in {@link TileProductTest}, attention
 * in {@link AttentionKernelsTest}.
 */
class EmulatedOpsTest {

    private static final long MEMORY = 4L << 30;

    /** Sums in float32 whose order differs from the CPU's. */
    private static final double ROUNDING = 5e-6;

    /** Products of operands that were rounded to bfloat16, each to within 2⁻⁸: two of them. */
    private static final double BFLOAT16 = 0x1p-7;

    /** The same where inputs and results are rounded, too: two more. */
    private static final double BFLOAT16_ACTIVATIONS = 0x1p-6;

    /** Its only gradient is a sum of two terms that nearly cancel: what rounding leaves of it says nothing. */
    private static final Set<String> CANCELS = Set.of("Linear of one input and one output");

    /** A leaf is float32 always, and so is what is added to it. */
    private static final Set<String> FLOAT32 = Set.of("Add of a leaf of one element");

    /** No ops: {@link ExactTest} and {@link OptimizerTest} show these. */
    private static final Set<Class<?>> OTHERWISE =
            Set.of(Nf4.Codec.class, AdamW.Kernel.class, GradientNorm.Kernel.class);

    private static final Set<Class<?>> PRODUCTS = Set.of(
            Linear.Kernel.class,
            LinearCrossEntropy.Kernel.class,
            Nf4Linear.Kernel.class,
            LoraLinear.Kernel.class,
            Attention.Kernel.class,
            CachedAttention.Kernel.class);

    private static final CudaDevice.Options OPTIONS = new CudaDevice.Options(1 << 16, true);

    @TestFactory
    Stream<DynamicTest> everyOpAgreesWithTheScalarKernels() {
        return IntStream.range(0, 3)
                .boxed()
                .flatMap(order -> cases().map(test -> DynamicTest.dynamicTest(test + ", order " + order, () -> {
                    double share = isProduct(test) ? BFLOAT16 : ROUNDING;
                    OnCard.assertAgrees(test, device(order, DType.F32), share);
                })));
    }

    @TestFactory
    Stream<DynamicTest> everyOpAgreesWithTheScalarKernelsInBfloat16() {
        return IntStream.range(0, 3)
                .boxed()
                .flatMap(order -> (order == 0 ? rounded() : inAllOrders())
                        .map(test -> DynamicTest.dynamicTest(
                                test + ", order " + order,
                                () -> OnCard.assertAgrees(test, device(order, DType.BF16), BFLOAT16_ACTIVATIONS))));
    }

    private static Stream<OpCase> rounded() {
        return cases().filter(test -> !FLOAT32.contains(test.toString()));
    }

    /** Those that are run in bfloat16 in three orders, too: all but what is of products and attention alone. */
    static Stream<OpCase> inAllOrders() {
        return rounded().filter(test -> !isProduct(test) || test.contracts().contains(LinearCrossEntropy.Kernel.class));
    }

    private static boolean isProduct(OpCase test) {
        return PRODUCTS.stream().anyMatch(test.contracts()::contains);
    }

    @Test
    void everyContractOfEveryModuleHasAKernelForCardsAndACase() {
        Set<Class<?>> there = new CudaKernels().kernels(device(0, DType.F32)).keySet();
        Set<Class<?>> shown = cases().flatMap(test -> test.contracts().stream()).collect(Collectors.toSet());
        shown.addAll(OTHERWISE);
        List<Class<?>> contracts =
                OnCard.contracts("io.qlora.engine.ops", "io.qlora.engine.optim", "io.qlora.nf4", "io.qlora.lora");
        assertTrue(contracts.size() >= 15, () -> "contracts found: " + contracts);
        for (Class<?> contract : contracts) {
            assertTrue(there.contains(contract), () -> "no kernel for " + contract.getName());
            assertTrue(shown.contains(contract), () -> "no case on the card for " + contract.getName());
        }
    }

    static Stream<OpCase> cases() {
        Set<Class<?>> there = new CudaKernels().kernels(device(0, DType.F32)).keySet();
        return OnCard.cases("io.qlora.engine.ops", "io.qlora.nf4", "io.qlora.lora").stream()
                .filter(test -> !test.contracts().isEmpty() && there.containsAll(test.contracts()))
                .filter(test -> !CANCELS.contains(test.toString()));
    }

    private static CudaDevice device(int order, DType activations) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), MEMORY, order);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), OPTIONS.withActivations(activations));
    }
}
