package io.qlora.cuda.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.emulation.Recorder;
import io.qlora.cuda.kernels.WgmmaUntried;
import io.qlora.engine.tensor.DType;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(WgmmaUntried.class)
class CheckPlanTest {

    /** On a card as large as an H200, which launches what it is told and computes nothing. */
    @Test
    void everyKernelThereIsIsCheckedAgainstTheProcessorsOnALargeHopperCard() {
        Set<String> never = new TreeSet<>(EmulatedLibrary.kernels());
        assertTrue(never.size() > 80, never.toString());
        Recorder recorder = Recorder.large();
        CudaDevice.Options options = new CudaDevice.Options(8L << 20, false);
        CudaDevice card = CudaDevice.open(recorder.driver(), 0, EmulatedDriver.code(), options);
        for (CheckPlan.Item item : CheckPlan.of(card, false)) {
            item.during(card, () -> item.sizes().forEach(size -> run(item.kernel(), size, card)));
        }
        never.removeAll(recorder.launched());
        assertEquals(Set.of(), never, "kernels that no check launches");
    }

    /** A process that does without wgmma goes on where one was lost that did not. */
    @Test
    void piecesHaveTheSameNamesWithoutWgmma() {
        CudaDevice.Options options = new CudaDevice.Options(1 << 12, false);
        CudaDevice card = CudaDevice.open(Recorder.large().driver(), 0, EmulatedDriver.code(), options);
        List<String> names =
                CheckPlan.of(card, false).stream().map(CheckPlan.Item::name).toList();
        assertEquals(names.size(), Set.copyOf(names).size(), "each is one piece");
        System.setProperty("qlora.cuda.wgmma", "false"); // which the extension forgets
        assertEquals(
                names,
                CheckPlan.of(card, false).stream().map(CheckPlan.Item::name).toList());
    }

    private static void run(KernelCase kernel, Size size, CudaDevice card) {
        for (DType activations : new DType[] {DType.F32, DType.BF16}) {
            try (Operands operands = new Operands(card, activations, true)) {
                kernel.preparation().on(operands, size).run().run();
            }
        }
    }
}
