package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;

/** {@link Nf4.Codec} by {@code nf4.cu}: the same bits as on the CPU. */
final class CudaNf4Codec implements Nf4.Codec {

    private static final int BLOCKS = 8; // of 64, a block of threads
    private static final int DEQUANTIZED = 4 * 2048; // elements, a block of threads

    private final CudaDevice device;
    private final CudaFunction quantize;
    private final CudaFunction quantizeAbsmax;
    private final ActivationFunction dequantize;
    private final DeviceTable map;

    CudaNf4Codec(CudaDevice device) {
        this.device = device;
        this.quantize = device.function("nf4", "nf4_quantize");
        this.quantizeAbsmax = device.function("nf4", "nf4_quantize_absmax");
        this.dequantize = new ActivationFunction(device, "nf4", "nf4_dequantize");
        this.map = new DeviceTable(device);
    }

    private record Quantize(Tensor source, Tensor codes, Tensor absmax) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(source).integer(source.dtype().ordinal()).pointer(codes).pointer(absmax);
            to.longInteger(source.size());
        }
    }

    private record QuantizeAbsmax(Tensor absmax, float offset, Tensor map, Tensor codes, Tensor absmax2)
            implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(absmax).real(offset).pointer(map).pointer(codes).pointer(absmax2);
            to.longInteger(absmax.size());
        }
    }

    private record Dequantize(Nf4Weight weight, Tensor values) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(weight.codes());
            Nf4Arguments.scales(to, weight);
            to.pointer(values).longInteger(values.size());
        }
    }

    @Override
    public void quantize(Tensor source, Tensor codes, Tensor absmax) {
        Shapes.require(source.dtype().isFloat(), "Nf4.quantize", "source", source, "F32, F16 or BF16");
        Shape blocks = Shape.of(Math.toIntExact(Math.ceilDiv(absmax.size(), (long) BLOCKS)), Launches.THREADS);
        device.launch(quantize, blocks, new Quantize(source, codes, absmax));
    }

    @Override
    public void quantizeAbsmax(Tensor absmax, float offset, Tensor codes, Tensor absmax2) {
        Tensor table = map.of(MemorySegment.ofArray(Nf4.dynamicMap()));
        device.launch(
                quantizeAbsmax,
                Shape.of(Math.toIntExact(absmax2.size()), Nf4Weight.NESTED_BLOCK),
                new QuantizeAbsmax(absmax, offset, table, codes, absmax2));
    }

    /** Into float32, as the contract says, or bfloat16, for a dense product. */
    @Override
    public void dequantize(Nf4Weight weight, Tensor values) {
        Shapes.require(
                values.dtype() == DType.F32 || values.dtype() == DType.BF16,
                "Nf4.dequantize",
                "values",
                values,
                "F32 or BF16");
        int blocks = Math.toIntExact(Math.ceilDiv(values.size(), (long) DEQUANTIZED));
        device.launch(dequantize.of(values), Shape.of(blocks, Launches.THREADS), new Dequantize(weight, values));
    }
}
