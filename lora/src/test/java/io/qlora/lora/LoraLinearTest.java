package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.Checkpoint;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.lora.LoraLinear.LowRank;
import io.qlora.nf4.Nf4;
import io.qlora.nf4.WeightLinear;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class LoraLinearTest extends OpTest {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private static final Dropout.Mask MASK = new Dropout.Mask(0.3f, new StepKey(7, 11), 5);

    /** What the adapter is on. */
    private enum Base {
        F32,
        F16,
        BF16,
        NF4
    }

    @Override
    public List<OpCase> cases() {
        return List.of(
                adapted("one token, rank 1", Base.F32, null, 1, 1, 5, 3),
                adapted("a few tokens, row by row, rank 3", Base.BF16, null, 3, 3, 7, 21),
                adapted("a few tokens of NF4", Base.NF4, null, 2, 8, 5, 64),
                adapted("float32, rank 8", Base.F32, null, 6, 8, 11, 19),
                adapted("float16, rank 3", Base.F16, null, 5, 3, 9, 17),
                adapted("bfloat16, rank 16", Base.BF16, null, 9, 16, 18, 10),
                adapted("NF4 whose blocks straddle rows, rank 8", Base.NF4, null, 7, 8, 13, 27),
                adapted("a rank greater than either side", Base.NF4, null, 5, 33, 6, 7),
                adapted("dropout on float32, one token", Base.F32, MASK, 1, 3, 5, 9),
                adapted("dropout on float32, rank 8", Base.F32, MASK, 7, 8, 10, 21),
                adapted("dropout on bfloat16, rank 1", Base.BF16, MASK, 5, 1, 6, 18),
                adapted("dropout on NF4, rank 16", Base.NF4, MASK, 6, 16, 9, 33),
                last("float32, rank 3", Base.F32, null, 3, 14),
                last("NF4, rank 16, with dropout", Base.NF4, MASK, 16, 33));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(
                adapted("NF4, rank 16, M=256, 768 -> 768", Base.NF4, null, 256, 16, 768, 768),
                adapted("NF4, rank 16, M=256, 768 -> 2048", Base.NF4, null, 256, 16, 2048, 768),
                adapted("NF4, rank 16, M=256, 2048 -> 768", Base.NF4, null, 256, 16, 768, 2048));
    }

    private static OpCase adapted(String what, Base base, Dropout.Mask mask, int rows, int rank, int out, int in) {
        DType stored = base == Base.NF4 ? DType.F32 : DType.valueOf(base.name());
        OpCase test = OpCase.of("LoraLinear of " + what, LoraLinear.Kernel.class)
                .activation("x", rows, in)
                .leaf("a", rank, in)
                .leaf("b", out, rank)
                .frozen("w", stored, out, in);
        if (mask != null || base == Base.NF4) {
            test.withoutNan(); // what is dropped is not seen, and no code stands for a NaN
        }
        return test.gives((tape, inputs) -> {
            Weight weight = weight(base, inputs.get("w"), inputs.memory(), tape.device());
            Sequences sequences = mask == null ? null : documents(tape, rows);
            LowRank adapter = new LowRank(inputs.get("a"), inputs.get("b"), 0.5f);
            return LoraLinear.apply(tape, inputs.get("x"), weight, adapter, mask, sequences);
        });
    }

    /** As the last op but a sum of a block that is computed again on the way back. */
    private static OpCase last(String what, Base base, Dropout.Mask mask, int rank, int width) {
        int rows = 7;
        return OpCase.of("LoraLinear at the end of a Checkpoint, " + what, LoraLinear.Kernel.class)
                .activation("x", rows, width)
                .leaf("a", rank, width)
                .leaf("b", width, rank)
                .frozen("w", DType.F32, width, width)
                .withoutNan()
                .gives((tape, inputs) -> {
                    Weight weight = weight(base, inputs.get("w"), inputs.memory(), tape.device());
                    Sequences sequences = documents(tape, rows);
                    LowRank adapter = new LowRank(inputs.get("a"), inputs.get("b"), 0.5f);
                    return Checkpoint.apply(
                            tape,
                            inputs.get("x"),
                            (inner, x) -> inner.last(() -> Add.inPlace(
                                    inner, x, LoraLinear.apply(inner, x, weight, adapter, mask, sequences))));
                });
    }

    private static Weight weight(Base base, Tensor w, ModelMemory memory, Device device) {
        return base == Base.NF4 ? Nf4.quantize(w, true, memory, device) : new DenseWeight(w);
    }

    private static Sequences documents(Tape tape, int rows) {
        int first = (rows + 1) / 2;
        return rows == 1
                ? Sequences.of(tape.memory().activations(), 2, 1)
                : Sequences.of(tape.memory().activations(), 2, first, rows - first);
    }

    /** An op as separate nodes, or as one. */
    @FunctionalInterface
    private interface Variant {
        Tensor apply(Tape tape, Tensor x, Tensor w, LowRank adapter, Sequences sequences);
    }

    private static Tensor oneNode(Tape tape, Tensor x, Tensor w, LowRank adapter, Sequences sequences) {
        return LoraLinear.apply(tape, x, new DenseWeight(w), adapter, MASK, sequences);
    }

    private static Tensor separateNodes(Tape tape, Tensor x, Tensor w, LowRank adapter, Sequences sequences) {
        Tensor y = Linear.apply(tape, x, new DenseWeight(w));
        Tensor dropped = Dropout.apply(tape, x, MASK.p(), MASK.step(), MASK.site(), sequences);
        Tensor u = Linear.apply(tape, dropped, new DenseWeight(adapter.a()));
        Tensor z = Linear.apply(tape, u, new DenseWeight(adapter.b()));
        Tensor sum = tape.like(y);
        for (long i = 0; i < sum.size(); i++) {
            sum.segment().setAtIndex(FLOAT, i, y.get(i) + adapter.scale() * z.get(i));
        }
        return tape.record(sum, List.of(y, z), (dSum, gradients) -> {
            gradients.pass(y, dSum);
            Grad dz = gradients.wanted(z);
            for (long i = 0; i < dSum.size(); i++) {
                dz.tensor().segment().setAtIndex(FLOAT, i, adapter.scale() * dSum.get(i));
            }
        });
    }

    @Test
    void isTheSumOfItsPartsWithTheSameMask() {
        List<float[]> parts = gradients(LoraLinearTest::separateNodes, 9);
        List<float[]> fused = gradients(LoraLinearTest::oneNode, 9);
        for (int i = 0; i < parts.size(); i++) {
            Closeness.assertClose(parts.get(i), fused.get(i), 2e-6, "tensor " + i + " of y, dx, dA, dB");
        }
    }

    /** y, dx, dA, dB, of documents of 4 and {@code rows − 4} tokens. */
    private static List<float[]> gradients(Variant variant, int rows) {
        try (CpuDevice device = new CpuDevice(2);
                ModelMemory memory = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Parameter x = parameter("x", memory, rows, 21);
            Parameter a = parameter("a", memory, 3, 21);
            Parameter b = parameter("b", memory, 10, 3);
            Tensor w = memory.empty(DType.F32, 10, 21).set(OpCase.normal("w", 10, 21));
            try (Tape tape = Tape.recording(step, new Parameters(List.of(x, a, b)))) {
                Sequences sequences = Sequences.of(step.activations(), 0, 4, rows - 4);
                Tensor y = variant.apply(tape, x.value(), w, new LowRank(a.value(), b.value(), 0.5f), sequences);
                float[] values = y.toFloats();
                walkBack(tape, y);
                return List.of(
                        values,
                        x.gradient().toFloats(),
                        a.gradient().toFloats(),
                        b.gradient().toFloats());
            }
        }
    }

    /** From a random gradient of y. */
    private static void walkBack(Tape tape, Tensor y) {
        Tensor loss = tape.empty(DType.F32, 1);
        tape.record(
                loss,
                List.of(y),
                (dLoss, gradients) -> gradients.wanted(y).tensor().set(OpCase.normal("dy", y.length(), y.cols())));
        tape.backward(loss);
    }

    private static Parameter parameter(String name, ModelMemory memory, long... dims) {
        return Parameter.of(name, memory.empty(DType.F32, dims).set(OpCase.normal(name, dims)), memory);
    }

    /** What a block ends with, and the kernels that its second run needs. */
    private record Ending(
            boolean adapted, Base base, boolean dropout, int rows, int width, List<String> kernelsOfTheSecondRun) {}

    static Stream<Ending> endings() {
        return Stream.of(
                new Ending(true, Base.F32, false, 40, 1300, List.of("LoraLinear.down")), // a sum in more than one piece
                new Ending(true, Base.NF4, false, 40, 1300, List.of("LoraLinear.down")),
                new Ending(true, Base.NF4, true, 20, 90, List.of("Dropout.forward", "LoraLinear.down")),
                new Ending(true, Base.F32, false, 2, 90, List.of("LoraLinear.down")),
                new Ending(false, Base.F32, false, 20, 90, List.of()),
                new Ending(false, Base.NF4, false, 20, 90, List.of()));
    }

    @ParameterizedTest
    @MethodSource("endings")
    void atABlocksEndTheSecondRunComputesNoOutputAndGradientsAreTheSameBits(Ending ending) {
        List<String> kernels = new ArrayList<>();
        List<float[]> plain = gradients(ending, false, kernels);
        kernels.clear();
        List<float[]> checkpointed = gradients(ending, true, kernels);
        for (int i = 0; i < plain.size(); i++) {
            assertArrayEquals(plain.get(i), checkpointed.get(i), "tensor " + i + " of y, dx, dA, dB");
        }
        int second = kernels.indexOf("Add.forward") + 1;
        List<String> forward = kernels.subList(second, kernels.size()).stream()
                .filter(kernel -> !kernel.endsWith(".backward"))
                .toList();
        List<String> wanted = new ArrayList<>(ending.kernelsOfTheSecondRun);
        wanted.add("Add.forward"); // the gradient of x, beside the linear
        if (ending.dropout) {
            wanted.add("Dropout.forward"); // dA needs what is dropped once more
        }
        assertEquals(wanted, forward);
    }

    /** y, dx, dA, dB of {@code x + linear(x)}, and what kernels have run. */
    private static List<float[]> gradients(Ending ending, boolean checkpointed, List<String> kernels) {
        int width = ending.width;
        try (CpuDevice device = new CpuDevice(2);
                ModelMemory memory = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Parameter x = parameter("x", memory, ending.rows, width);
            Parameter a = parameter("a", memory, 3, width);
            Parameter b = parameter("b", memory, width, 3);
            Tensor w = memory.empty(DType.F32, width, width).set(OpCase.normal("w", width, width));
            Weight weight = weight(ending.base, w, memory, device);
            LowRank adapter = new LowRank(a.value(), b.value(), 0.5f);
            device.observe((contract, method, arguments, nanoseconds) ->
                    kernels.add(contract.getEnclosingClass().getSimpleName() + "." + method.getName()));
            try (Tape tape = Tape.recording(step, new Parameters(List.of(x, a, b)))) {
                Sequences sequences = Sequences.of(step.activations(), 0, ending.rows);
                Dropout.Mask mask = ending.dropout ? MASK : null;
                BiFunction<Tape, Tensor, Tensor> block = (inner, h) -> inner.last(() -> Add.inPlace(
                        inner,
                        h,
                        ending.adapted
                                ? LoraLinear.apply(inner, h, weight, adapter, mask, sequences)
                                : WeightLinear.apply(inner, h, weight)));
                Tensor y = checkpointed ? Checkpoint.apply(tape, x.value(), block) : block.apply(tape, x.value());
                float[] values = y.toFloats();
                walkBack(tape, y);
                return List.of(
                        values,
                        x.gradient().toFloats(),
                        a.gradient().toFloats(),
                        b.gradient().toFloats());
            }
        }
    }

    @Test
    void savesNoMoreThanU() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory memory = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Parameter a = parameter("a", memory, 4, 64);
            Parameter b = parameter("b", memory, 128, 4);
            Tensor x = memory.zeros(DType.F32, 32, 64);
            Weight w = new DenseWeight(memory.zeros(DType.F32, 128, 64));
            try (Tape tape = Tape.recording(step, new Parameters(List.of(a, b)))) {
                Sequences sequences = Sequences.of(step.activations(), 0, 32);
                long before = step.activations().used();
                LoraLinear.apply(tape, x, w, new LowRank(a.value(), b.value(), 1), MASK, sequences);
                long y = 4 * 32 * 128;
                long u = 4 * 32 * 4;
                assertTrue(step.activations().used() - before <= y + u + 2 * 256);
            }
        }
    }

    @Test
    void refusesAWeightThatIsTrainedItself() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory memory = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            Parameter w = parameter("w", memory, 5, 6);
            LowRank adapter = new LowRank(memory.zeros(DType.F32, 2, 6), memory.zeros(DType.F32, 5, 2), 1);
            Tensor x = memory.zeros(DType.F32, 3, 6);
            try (Tape tape = Tape.recording(step, new Parameters(List.of(w)))) {
                IllegalArgumentException e = assertThrows(
                        IllegalArgumentException.class,
                        () -> LoraLinear.apply(tape, x, new DenseWeight(w.value()), adapter, null, null));
                assertEquals(
                        "LoraLinear: w should be frozen: adapt it or train it, not both, found a trainable weight",
                        e.getMessage());
            }
        }
    }

    @Test
    void refusesMatricesThatDoNotFit() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory memory = new ModelMemory(device);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Tensor a = memory.zeros(DType.F32, 2, 6);
            assertThrows(IllegalArgumentException.class, () -> new LowRank(a, memory.zeros(DType.F32, 5, 3), 1));
            Weight w = new DenseWeight(memory.zeros(DType.F32, 4, 6));
            LowRank adapter = new LowRank(a, memory.zeros(DType.F32, 5, 2), 1);
            Tensor x = memory.zeros(DType.F32, 3, 6);
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> LoraLinear.apply(tape, x, w, adapter, null, null));
            assertEquals("LoraLinear: B should be F32 [4, *], found F32 [5, 2]", e.getMessage());
        }
    }
}
