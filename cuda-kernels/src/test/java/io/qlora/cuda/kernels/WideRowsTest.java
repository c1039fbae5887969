package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.testing.OnCard;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Rows that are wider than what a block of threads has in registers, or reads at once; of whole eights of elements, or not. */
class WideRowsTest {

    private static final double ROUNDING = 1e-5; // sums of thousands
    private static final double BFLOAT16 = 0x1p-6;

    @TestFactory
    Stream<DynamicTest> wideRowsAgreeWithTheScalarKernels() {
        List<OpCase> cases = List.of(
                normalises(4168),
                normalises(4099),
                adds(4168),
                adds(4099),
                embeds(2056),
                embeds(2051),
                loss(33_000),
                loss(32_771));
        return cases.stream().map(test -> DynamicTest.dynamicTest(test.toString(), () -> agrees(test)));
    }

    private static OpCase normalises(int cols) {
        return OpCase.of("RmsNorm of rows of " + cols, RmsNorm.Kernel.class)
                .activation("x", 2, cols)
                .leaf("w", cols)
                .gives((tape, in) -> RmsNorm.apply(tape, in.get("x"), in.get("w"), 1e-5f));
    }

    private static OpCase adds(int cols) {
        return OpCase.of("AddRmsNorm of rows of " + cols, AddRmsNorm.Kernel.class)
                .activation("x", 2, cols)
                .activation("y", 2, cols)
                .leaf("w", cols)
                .givesAll((tape, in) -> {
                    AddRmsNorm.Result result = AddRmsNorm.apply(tape, in.get("x"), in.get("y"), in.get("w"), 1e-5f);
                    return List.of(result.sum(), result.normalised());
                });
    }

    private static OpCase embeds(int cols) {
        return OpCase.of("Embedding of rows of " + cols, Embedding.Kernel.class)
                .ints("ids", new int[] {2, 0, 2}, 3)
                .leaf("table", 3, cols)
                .gives((tape, in) -> Embedding.apply(tape, in.get("ids"), new DenseWeight(in.get("table"))));
    }

    private static OpCase loss(int tokens) {
        return OpCase.of("LinearCrossEntropy of " + tokens + " tokens", LinearCrossEntropy.Kernel.class)
                .activation("x", 2, 4)
                .ints("rows", new int[] {0, 1}, 2)
                .ints("targets", new int[] {tokens - 1, 5}, 2)
                .frozen("head", DType.BF16, tokens, 4)
                .gives((tape, in) -> LinearCrossEntropy.apply(
                        tape, in.get("x"), new DenseWeight(in.get("head")), in.get("rows"), in.get("targets"), 0.5f));
    }

    private static void agrees(OpCase test) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 2L << 30, 1);
        CudaDevice card = CudaDevice.open(
                driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 16, true).withActivations(DType.F32));
        boolean product = test.contracts().contains(LinearCrossEntropy.Kernel.class);
        OnCard.assertAgrees(test, card, product ? BFLOAT16 : ROUNDING);
        OnCard.assertAgrees(test, new ApartDevice(card, DType.BF16), BFLOAT16);
    }
}
