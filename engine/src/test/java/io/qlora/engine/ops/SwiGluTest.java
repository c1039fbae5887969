package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class SwiGluTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(gates("fewer elements than any vector has", 1, 3), gates("vectors and a tail", 3, 37));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(gates("4096 rows of 2048", 4096, 2048));
    }

    private static OpCase gates(String what, int rows, int cols) {
        return OpCase.of("SwiGlu of " + what, SwiGlu.Kernel.class)
                .activation("gate", rows, cols)
                .activation("up", rows, cols)
                .gives((tape, in) -> SwiGlu.apply(tape, in.get("gate"), in.get("up")));
    }

    @Test
    void extremeGatesAreOpenOrShut() {
        float[] gates = {100, -100, 1000, -1000, 88.5f, -88.5f, 3e38f, -3e38f, 0, -0f, 20, -20};
        for (boolean vectors : new boolean[] {false, true}) {
            try (CpuDevice device = new CpuDevice(1, vectors);
                    ModelMemory memory = new ModelMemory(device)) {
                int n = gates.length;
                Tensor gate = memory.empty(DType.F32, 1, n).set(gates);
                float[] one = new float[n];
                Arrays.fill(one, 1f);
                Tensor ones = memory.empty(DType.F32, 1, n).set(one);
                Tensor y = memory.empty(DType.F32, 1, n);
                Tensor dgate = memory.empty(DType.F32, 1, n);
                Tensor dup = memory.empty(DType.F32, 1, n);
                SwiGlu.Kernel kernel = device.kernel(SwiGlu.Kernel.class);
                kernel.forward(gate, ones, y);
                kernel.backward(gate, ones, ones, new Grad(dgate, false), new Grad(dup, false));
                for (int i = 0; i < n; i++) {
                    double g = gates[i];
                    double s = 1 / (1 + Math.exp(-g));
                    double tail =
                            Math.exp(-Math.abs(g)) / (1 + Math.exp(-Math.abs(g))); // 1 − s or s, whichever is small
                    double slope = s * (1 + g * (g > 0 ? tail : 1 - s));
                    assertEquals(g * s, y.get(i), 2e-7 * Math.abs(g * s) + 1e-35, "silu of " + g);
                    assertEquals(g * s, dup.get(i), 2e-7 * Math.abs(g * s) + 1e-35, "silu of " + g);
                    assertEquals(slope, dgate.get(i), 2e-7 * Math.abs(slope) + 1e-35, "slope at " + g);
                }
            }
        }
    }

    @Test
    void severalTasksGiveWhatTheScalarKernelGives() {
        float[] gates = OpCase.normal("gate", 3, 7001);
        float[] ups = OpCase.normal("up", 3, 7001);
        float[][] results = new float[2][];
        for (int vectors = 0; vectors < 2; vectors++) {
            try (CpuDevice device = new CpuDevice(3, vectors == 1);
                    ModelMemory memory = new ModelMemory(device)) {
                Tensor y = memory.empty(DType.F32, 3, 7001);
                Tensor gate = memory.empty(DType.F32, 3, 7001).set(gates);
                Tensor up = memory.empty(DType.F32, 3, 7001).set(ups);
                device.kernel(SwiGlu.Kernel.class).forward(gate, up, y);
                results[vectors] = y.toFloats();
            }
        }
        Closeness.assertClose(results[0], results[1], 1e-6, "SwiGlu in three tasks");
    }
}
