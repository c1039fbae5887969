package io.qlora.cuda.blas;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.Workspace;
import io.qlora.cuda.driver.CudaException;
import io.qlora.engine.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.Constructor;
import jcuda.Pointer;
import jcuda.cudaDataType;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasComputeType;
import jcuda.jcublas.cublasGemmAlgo;
import jcuda.jcublas.cublasHandle;
import jcuda.jcublas.cublasOperation;
import jcuda.runtime.cudaStream_t;

/**
 * cuBLAS through JCublas2, whose native library needs CUDA 12's. Must not be touched where its jar is missing; its
 * constructor loads the native library.
 */
final class JCublas2Library implements GemmLibrary {

    /** Memory of the host or the card by its address. */
    private static final class Address extends Pointer {
        Address(long address) {
            super(address);
        }
    }

    private final cublasHandle handle = new cublasHandle();
    private final Workspace workspace;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment scalars = arena.allocate(JAVA_FLOAT, 2);
    private final Pointer alpha = new Address(scalars.address());
    private final Pointer beta = new Address(scalars.address() + Float.BYTES);

    /** Opens cuBLAS for a device. */
    JCublas2Library(CudaDevice device) {
        JCublas2.setExceptionsEnabled(false);
        check(JCublas2.cublasCreate(handle), "cublasCreate");
        check(JCublas2.cublasSetStream(handle, stream(device.stream())), "cublasSetStream");
        workspace = new Workspace(device);
        long address = workspace.reserve(Blas.WORKSPACE);
        if (address != 0) { // after the stream, which resets it
            check(JCublas2.cublasSetWorkspace(handle, new Address(address), workspace.size()), "cublasSetWorkspace");
        }
    }

    /** JCuda keeps to itself how a stream is made of its number, which is all that another binding knows of it. */
    private static cudaStream_t stream(long number) {
        try {
            Constructor<cudaStream_t> constructor = cudaStream_t.class.getDeclaredConstructor(long.class);
            constructor.setAccessible(true);
            return constructor.newInstance(number);
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("this version of JCuda takes no stream that it has not made", e);
        }
    }

    @Override
    public String name() {
        int[] version = new int[1];
        check(JCublas2.cublasGetVersion(handle, version), "cublasGetVersion");
        return "JCublas2, cuBLAS " + Blas.version(version[0]);
    }

    @Override
    public boolean takes(Gemm product) {
        return true;
    }

    @Override
    public void multiply(Gemm g) {
        scalars.set(JAVA_FLOAT, 0, g.alpha());
        scalars.set(JAVA_FLOAT, Float.BYTES, g.beta());
        int code = JCublas2.cublasGemmEx_new(
                handle,
                operation(g.transposeB()),
                operation(g.transposeA()),
                g.n(),
                g.m(),
                g.k(),
                alpha,
                new Address(g.b()),
                cudaDataType.CUDA_R_16BF,
                g.rowB(),
                new Address(g.a()),
                cudaDataType.CUDA_R_16BF,
                g.rowA(),
                beta,
                new Address(g.c()),
                g.type() == DType.F32 ? cudaDataType.CUDA_R_32F : cudaDataType.CUDA_R_16BF,
                g.n(),
                cublasComputeType.CUBLAS_COMPUTE_32F,
                cublasGemmAlgo.CUBLAS_GEMM_DEFAULT);
        check(code, "cublasGemmEx", g.arguments());
    }

    private static int operation(boolean transpose) {
        return transpose ? cublasOperation.CUBLAS_OP_T : cublasOperation.CUBLAS_OP_N;
    }

    private static void check(int code, String function, Object... arguments) {
        if (code != 0) {
            String name = jcuda.jcublas.cublasStatus.stringFor(code);
            throw CudaException.of(function, code, name, "cuBLAS refuses", arguments);
        }
    }

    @Override
    public void close() {
        check(JCublas2.cublasDestroy(handle), "cublasDestroy");
        workspace.close();
        arena.close();
    }
}
