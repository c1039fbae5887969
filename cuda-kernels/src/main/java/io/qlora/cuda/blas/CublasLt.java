package io.qlora.cuda.blas;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.Workspace;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.jextract.cublas.LibCublasLt;
import io.qlora.cuda.jextract.cublas.cublasLtMatmulAlgo_t;
import io.qlora.cuda.jextract.cublas.cublasLtMatmulHeuristicResult_t;
import io.qlora.engine.tensor.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;

/**
 * cuBLASLt through its generated bindings. The library is asked once for the algorithm of each shape, for which it may use a
 * workspace on the card that is made with this.
 */
final class CublasLt implements GemmLibrary {

    /** Kept algorithms; when there are so many, which takes very uneven batches, all are asked for again. */
    private static final int MOST_PLANS = 1024;

    private static final int COARSEST_ALIGNMENT = 256;

    /** All that an algorithm depends on. Alignments are those of the addresses, bytes. */
    private record Key(
            int m,
            int n,
            int k,
            boolean transposeA,
            boolean transposeB,
            DType type,
            int alignmentA,
            int alignmentB,
            int alignmentC) {

        static Key of(Gemm g) {
            return new Key(
                    g.m(),
                    g.n(),
                    g.k(),
                    g.transposeA(),
                    g.transposeB(),
                    g.type(),
                    alignment(g.a()),
                    alignment(g.b()),
                    alignment(g.c()));
        }

        private static int alignment(long address) {
            return (int) Math.min(COARSEST_ALIGNMENT, Long.lowestOneBit(address));
        }
    }

    /** The library's descriptions of a product, and its algorithm, null if it has none. */
    private record Plan(
            MemorySegment operation, MemorySegment b, MemorySegment a, MemorySegment c, MemorySegment algorithm) {}

    private final MemorySegment stream;
    private final MemorySegment library;
    private final Workspace memory;
    private final MemorySegment workspace;
    private final long workspaceBytes;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment scalars = arena.allocate(JAVA_FLOAT, 2); // alpha, beta
    private final MemorySegment beta = scalars.asSlice(4);
    private final Map<Key, Plan> plans = new HashMap<>();
    private Arena planArena = Arena.ofShared();

    /** Opens the library, which must be there. */
    CublasLt(CudaDevice device) {
        MemorySegment handle = arena.allocate(ADDRESS);
        check(LibCublasLt.cublasLtCreate(handle), "cublasLtCreate");
        library = handle.get(ADDRESS, 0);
        stream = MemorySegment.ofAddress(device.stream());
        memory = new Workspace(device);
        workspace = MemorySegment.ofAddress(memory.reserve(Blas.WORKSPACE));
        workspaceBytes = memory.size();
    }

    @Override
    public String name() {
        return "cuBLASLt " + Blas.version(LibCublasLt.cublasLtGetVersion());
    }

    @Override
    public boolean takes(Gemm product) {
        return plan(product).algorithm != null;
    }

    @Override
    public void multiply(Gemm g) {
        Plan plan = plan(g);
        scalars.set(JAVA_FLOAT, 0, g.alpha());
        beta.set(JAVA_FLOAT, 0, g.beta());
        MemorySegment c = MemorySegment.ofAddress(g.c());
        int code = LibCublasLt.cublasLtMatmul(
                library,
                plan.operation,
                scalars,
                MemorySegment.ofAddress(g.b()),
                plan.b,
                MemorySegment.ofAddress(g.a()),
                plan.a,
                beta,
                c,
                plan.c,
                c,
                plan.c,
                plan.algorithm,
                workspace,
                workspaceBytes,
                stream);
        if (code != 0) {
            throw failure(code, "cublasLtMatmul", g.arguments());
        }
    }

    private Plan plan(Gemm product) {
        Key key = Key.of(product);
        Plan plan = plans.get(key);
        if (plan == null) {
            if (plans.size() == MOST_PLANS) {
                drop();
                planArena = Arena.ofShared();
            }
            plan = make(key, product);
            plans.put(key, plan);
        }
        return plan;
    }

    private Plan make(Key key, Gemm g) {
        MemorySegment operation = created(
                out -> LibCublasLt.cublasLtMatmulDescCreate(
                        out, LibCublasLt.CUBLAS_COMPUTE_32F(), LibCublasLt.CUDA_R_32F()),
                "cublasLtMatmulDescCreate");
        set(operation, LibCublasLt.CUBLASLT_MATMUL_DESC_TRANSA(), g.transposeB());
        set(operation, LibCublasLt.CUBLASLT_MATMUL_DESC_TRANSB(), g.transposeA());
        int half = LibCublasLt.CUDA_R_16BF();
        MemorySegment b = g.transposeB() ? layout(half, g.k(), g.n()) : layout(half, g.n(), g.k());
        MemorySegment a = g.transposeA() ? layout(half, g.m(), g.k()) : layout(half, g.k(), g.m());
        MemorySegment c = layout(g.type() == DType.F32 ? LibCublasLt.CUDA_R_32F() : half, g.n(), g.m());
        return new Plan(operation, b, a, c, algorithm(key, operation, b, a, c));
    }

    /** The library's first choice, or null if it has none. */
    private MemorySegment algorithm(
            Key key, MemorySegment operation, MemorySegment b, MemorySegment a, MemorySegment c) {
        MemorySegment preference =
                created(LibCublasLt::cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate");
        try (Arena scratch = Arena.ofConfined()) {
            prefer(preference, LibCublasLt.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(), scratch, workspaceBytes);
            prefer(preference, LibCublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES(), scratch, key.alignmentB);
            prefer(preference, LibCublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES(), scratch, key.alignmentA);
            prefer(preference, LibCublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES(), scratch, key.alignmentC);
            prefer(preference, LibCublasLt.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES(), scratch, key.alignmentC);
            MemorySegment result = cublasLtMatmulHeuristicResult_t.allocate(scratch);
            MemorySegment found = scratch.allocate(JAVA_INT);
            int code = LibCublasLt.cublasLtMatmulAlgoGetHeuristic(
                    library, operation, b, a, c, c, preference, 1, result, found);
            if (code == LibCublasLt.CUBLAS_STATUS_NOT_SUPPORTED() || (code == 0 && !suits(result, found))) {
                return null;
            }
            check(code, "cublasLtMatmulAlgoGetHeuristic");
            return planArena
                    .allocate(cublasLtMatmulAlgo_t.layout())
                    .copyFrom(cublasLtMatmulHeuristicResult_t.algo(result));
        } finally {
            check(LibCublasLt.cublasLtMatmulPreferenceDestroy(preference), "cublasLtMatmulPreferenceDestroy");
        }
    }

    private static boolean suits(MemorySegment result, MemorySegment found) {
        return found.get(JAVA_INT, 0) > 0
                && cublasLtMatmulHeuristicResult_t.state(result) == LibCublasLt.CUBLAS_STATUS_SUCCESS();
    }

    private static void prefer(MemorySegment preference, int attribute, Arena scratch, long bytes) {
        MemorySegment value = scratch.allocateFrom(JAVA_LONG, bytes);
        int code = LibCublasLt.cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, JAVA_LONG.byteSize());
        check(code, "cublasLtMatmulPreferenceSetAttribute", "attribute", attribute);
    }

    private static void prefer(MemorySegment preference, int attribute, Arena scratch, int bytes) {
        MemorySegment value = scratch.allocateFrom(JAVA_INT, bytes);
        int code = LibCublasLt.cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, JAVA_INT.byteSize());
        check(code, "cublasLtMatmulPreferenceSetAttribute", "attribute", attribute);
    }

    private static void set(MemorySegment operation, int attribute, boolean transpose) {
        try (Arena scratch = Arena.ofConfined()) {
            int how = transpose ? LibCublasLt.CUBLAS_OP_T() : LibCublasLt.CUBLAS_OP_N();
            MemorySegment value = scratch.allocateFrom(JAVA_INT, how);
            int code = LibCublasLt.cublasLtMatmulDescSetAttribute(operation, attribute, value, JAVA_INT.byteSize());
            check(code, "cublasLtMatmulDescSetAttribute", "attribute", attribute);
        }
    }

    /** A matrix whose columns of {@code rows} elements lie one behind the other. */
    private static MemorySegment layout(int type, int rows, int cols) {
        return created(
                out -> LibCublasLt.cublasLtMatrixLayoutCreate(out, type, rows, cols, rows),
                "cublasLtMatrixLayoutCreate");
    }

    /** Makes something of the library's and leaves a pointer to it. */
    @FunctionalInterface
    private interface Creation {
        int create(MemorySegment out);
    }

    private static MemorySegment created(Creation creation, String function) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment out = scratch.allocate(ADDRESS);
            check(creation.create(out), function);
            return out.get(ADDRESS, 0);
        }
    }

    private void drop() {
        for (Plan plan : plans.values()) {
            check(LibCublasLt.cublasLtMatmulDescDestroy(plan.operation), "cublasLtMatmulDescDestroy");
            for (MemorySegment layout : new MemorySegment[] {plan.b, plan.a, plan.c}) {
                check(LibCublasLt.cublasLtMatrixLayoutDestroy(layout), "cublasLtMatrixLayoutDestroy");
            }
        }
        plans.clear();
        planArena.close();
    }

    private static void check(int code, String function, Object... arguments) {
        if (code != 0) {
            throw failure(code, function, arguments);
        }
    }

    private static CudaException failure(int code, String function, Object... arguments) {
        MemorySegment text = LibCublasLt.cublasLtGetStatusString(code);
        String said = text.address() == 0
                ? "an unknown status"
                : text.reinterpret(Long.MAX_VALUE).getString(0);
        return CudaException.of(function, code, "cuBLASLt status", said, arguments);
    }

    @Override
    public void close() {
        drop();
        check(LibCublasLt.cublasLtDestroy(library), "cublasLtDestroy");
        memory.close();
        arena.close();
    }
}
