package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.ops.testing.OnCard;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.DType;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Attention's kernels at the edges of their tiles, of heads of all widths, in groups, of ragged documents: with {@code
 * mma.sync}, and with Hopper's {@code wgmma}.
 */
@ExtendWith(WgmmaUntried.class)
public class AttentionKernelsTest {

    private static final double BFLOAT16 = 0x1p-7; // of operands, float32 activations
    private static final double BFLOAT16_ACTIVATIONS = 0x1p-6;
    private static final int AMPERE = 8;
    private static final int HOPPER = 9;

    /** Heads of all widths, groups of all sizes, documents that end anywhere in a tile. */
    public static List<OpCase> cases() {
        return List.of(
                attends(2, 2, 64, 63, 1, 64),
                attends(4, 1, 64, 129),
                attends(8, 1, 64, 1, 1, 63),
                attends(2, 2, 128, 65, 2, 128),
                attends(4, 1, 128, 100, 1, 30),
                attends(8, 1, 128, 33),
                attends(1, 1, 128, 2, 257), // more tiles than are in shared memory
                attends(1, 1, 64, 257),
                attends(2, 1, 256, 66),
                attends(4, 4, 32, 64, 1, 33),
                attends(4, 2, 80, 31, 97, 3),
                attends(2, 1, 96, 129),
                attends(1, 1, 129, 40),
                attends(2, 1, 7, 257));
    }

    @TestFactory
    Stream<DynamicTest> headsOfEveryWidthAndGroupsOfEverySizeAgreeWithTheScalarKernels() {
        return cases().stream()
                .flatMap(test -> Stream.of(AMPERE, HOPPER)
                        .flatMap(major -> IntStream.range(0, 3)
                                .mapToObj(order -> DynamicTest.dynamicTest(
                                        test + ", sm_" + major + "x, order " + order,
                                        () -> agrees(test, major, order)))));
    }

    private static OpCase attends(int heads, int kvHeads, int size, int... lengths) {
        int tokens = Arrays.stream(lengths).sum();
        String name =
                heads + " heads of " + size + ", " + kvHeads + " for keys, documents of " + Arrays.toString(lengths);
        return OpCase.of(name, Attention.Kernel.class)
                .activation("q", tokens, (long) heads * size)
                .activation("k", tokens, (long) kvHeads * size)
                .activation("v", tokens, (long) kvHeads * size)
                .gives((tape, in) -> Attention.apply(
                        tape,
                        in.get("q"),
                        in.get("k"),
                        in.get("v"),
                        Sequences.of(tape.memory().activations(), 0, lengths),
                        heads,
                        kvHeads));
    }

    private static void agrees(OpCase test, int major, int order) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 4L << 30, order, major);
        CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 16, true));
        if (order == 0 && major == AMPERE) { // float32 is converted on its way to the same tiles
            OnCard.assertAgrees(test, card, BFLOAT16);
        }
        OnCard.assertAgrees(test, new ApartDevice(card, DType.BF16), BFLOAT16_ACTIVATIONS);
    }
}
