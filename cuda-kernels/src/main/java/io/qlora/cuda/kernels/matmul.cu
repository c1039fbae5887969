// The matrix product on tensor cores, by mma.sync: see product.cuh for its forms.
//
// A block computes a tile of C, its warps a part of that each, over K in steps of 64. STAGES tiles of A and B are in shared
// memory: while one is multiplied, the next are on their way, and no thread waits for memory.
//
// Bytes and operations, for x [4096, 4096] · W [14336, 4096]ᵀ in bfloat16, 481 GFLOP. A tile of 128 × 128 moves 32 KiB from L2
// and does 2.1 MFLOP a step: 64 FLOP a byte, 7.5 GB in all, so that L2, not memory, feeds it; a step takes 512 clocks of
// Hopper's tensor cores by wgmma, about 800 by mma.sync. Warps of 64 × 64 read 16 KiB × 4 from shared memory in that time, 80 B
// a clock of 128; of 64 × 32 it would be 24 KiB × 4, the limit. So: four warps of 64 × 64, 96 KiB of tiles, two blocks a
// multiprocessor where it has 228 KiB.
//
// NF4 halves that: codes and scales are prefetched into registers and decoded once a block, by all of its threads.
//
// The products with an adapter's rank R have hardly any operations: u = x·Aᵀ reads 2·T·C bytes, the least there is, for
// 2·T·C·R FLOP. Their tiles are narrow, and K is cut into parts, enough to keep all multiprocessors reading; the parts' sums
// are added up by `matmul_sum`, always in the same order.
#include "product.cuh"

/// A block's tile of C: WARPS_M × WARPS_N warps, each 16·M_STEPS × 8·N_STEPS. A_BY_K: A's lines are along M, a line an element
/// of K; likewise B.
template <int WARPS_M, int WARPS_N, int M_STEPS, int N_STEPS, bool A_BY_K, bool B_BY_K, Way A_WAY, Way B_WAY, int STAGES>
struct Tile {
    static constexpr int ROWS = WARPS_M * M_STEPS * 16, COLS = WARPS_N * N_STEPS * 8, THREADS = WARPS_M * WARPS_N * 32;
    static constexpr int A_LINES = A_BY_K ? DEPTH : ROWS, A_WIDTH = A_BY_K ? ROWS : DEPTH;
    static constexpr int B_LINES = B_BY_K ? DEPTH : COLS, B_WIDTH = B_BY_K ? COLS : DEPTH;
    static constexpr u32 A_BYTES = (A_WIDTH + 63) / 64 * A_LINES * LINE, B_BYTES = (B_WIDTH + 63) / 64 * B_LINES * LINE;
    static constexpr u32 STAGE = A_BYTES + B_BYTES;
    static_assert(N_STEPS % 2 == 0, "B's fragments come in pairs");

    /// sums += A·B over K in [k, end), a multiple of DEPTH but for A's and B's end
    __device__ __forceinline__ static void accumulate(const Operand &a, const Operand &b, int row, int col, int k, int end,
                                                      u32 tiles, float sums[M_STEPS][N_STEPS][4]) {
        Transfer<A_WAY, A_LINES, A_WIDTH, THREADS> to_a;
        Transfer<B_WAY, B_LINES, B_WIDTH, THREADS> to_b;
        auto begin = [&](int at, u32 stage) {
            to_a.begin(a, A_BY_K ? at : row, A_BY_K ? row : at, stage, threadIdx.x);
            to_b.begin(b, B_BY_K ? at : col, B_BY_K ? col : at, stage + A_BYTES, threadIdx.x);
        };
        auto finish = [&](u32 stage) {
            to_a.end(a, stage, threadIdx.x);
            to_b.end(b, stage + A_BYTES, threadIdx.x);
        };
#pragma unroll
        for (int s = 0; s < STAGES - 1; s++) {
            if (k + s * DEPTH < end) {
                begin(k + s * DEPTH, tiles + s * STAGE);
                finish(tiles + s * STAGE);
            }
            end_of_copies();
        }
        u32 now = 0, next = (STAGES - 1) * STAGE; // of the stages
        for (; k < end; k += DEPTH) {
            wait_for_copies<STAGES - 2>();
            __syncthreads(); // all have this stage, and all are done with the one before, which is filled again
            bool more = k + (STAGES - 1) * DEPTH < end;
            if (more) {
                begin(k + (STAGES - 1) * DEPTH, tiles + next);
            }
            end_of_copies();
            multiply(tiles + now, tiles + now + A_BYTES, sums);
            if (more) {
                finish(tiles + next);
            }
            next = now;
            now = now + STAGE == STAGES * STAGE ? 0 : now + STAGE;
        }
        __syncthreads();
    }

    /// sums += A2·B2, all of it, by one stage
    __device__ __forceinline__ static void accumulate_second(const Product &p, int row, int col, u32 tile,
                                                             float sums[M_STEPS][N_STEPS][4]) {
        Operand a = second_left_of<A_BY_K>(p), b = second_right_of<B_BY_K>(p);
        for (int k = 0; k < p.depth2; k += DEPTH) {
            put_down<A_LINES, A_WIDTH, THREADS>(a, A_BY_K ? k : row, A_BY_K ? row : k, tile, threadIdx.x);
            put_down<B_LINES, B_WIDTH, THREADS>(b, B_BY_K ? k : col, B_BY_K ? col : k, tile + A_BYTES, threadIdx.x);
            __syncthreads();
            multiply(tile, tile + A_BYTES, sums);
            __syncthreads();
        }
#pragma unroll
        for (int i = 0; i < M_STEPS * N_STEPS * 4; i++) {
            sums[i / (N_STEPS * 4)][i / 4 % N_STEPS][i % 4] *= p.scale2;
        }
    }

    /// sums += the product of a stage, the part of this warp
    __device__ __forceinline__ static void multiply(u32 tile_a, u32 tile_b, float sums[M_STEPS][N_STEPS][4]) {
        int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        int row = warp / WARPS_N * M_STEPS * 16, col = warp % WARPS_N * N_STEPS * 8;
        int eight = lane % 8, second = lane / 8 % 2 * 8, third = lane / 16 * 8; // which of four matrices' lines this lane points to
#pragma unroll
        for (int k = 0; k < DEPTH; k += 16) {
            u32 a[M_STEPS][4], b[N_STEPS / 2][4];
#pragma unroll
            for (int m = 0; m < M_STEPS; m++) { // rows, rows + 8, then the same of the next eight of K
                if (A_BY_K) {
                    load_transposed(a[m], tile_a + place<A_LINES>(k + third + eight, row + 16 * m + second));
                } else {
                    load_matrices(a[m], tile_a + place<A_LINES>(row + 16 * m + second + eight, k + third));
                }
            }
#pragma unroll
            for (int n = 0; n < N_STEPS / 2; n++) { // eight of K, the next eight, then the same of columns + 8
                if (B_BY_K) {
                    load_transposed(b[n], tile_b + place<B_LINES>(k + second + eight, col + 16 * n + third));
                } else {
                    load_matrices(b[n], tile_b + place<B_LINES>(col + 16 * n + third + eight, k + second));
                }
            }
#pragma unroll
            for (int m = 0; m < M_STEPS; m++) {
#pragma unroll
                for (int n = 0; n < N_STEPS; n++) {
                    mma_m16n8k16(sums[m][n], a[m], &b[n / 2][n % 2 * 2]);
                }
            }
        }
    }

    // grid: (ceil(M / ROWS), ceil(N / COLS), parts of K): neighbours along x share B's columns
    __device__ __forceinline__ static void product(const Product &p) {
        DYNAMIC_SHARED(char, shared);
        u32 tiles = shared_address(shared);
        float sums[M_STEPS][N_STEPS][4] = {};
        int row = blockIdx.x * ROWS, col = blockIdx.y * COLS;
        if (p.depth2 > 0 && blockIdx.z == 0) { // first, since it has a scale of its own
            accumulate_second(p, row, col, tiles, sums);
        }
        int k = blockIdx.z * p.part;
        accumulate(left_of<A_BY_K>(p), right_of<B_BY_K>(p), row, col, k, min(k + p.part, p.depth), tiles, sums);
        int warp = threadIdx.x / 32;
        float *strip = (float *)shared + warp * STRIP_FLOATS;
        static_assert(STAGES * STAGE >= WARPS_M * WARPS_N * STRIP_FLOATS * 4, "strips go where the tiles were");
#pragma unroll
        for (int m = 0; m < M_STEPS; m++) {
            put_strip<N_STEPS>(p, sums[m], row + (warp / WARPS_N * M_STEPS + m) * 16, col + warp % WARPS_N * N_STEPS * 8, strip);
        }
    }
};

#define MATMUL(name, warps_m, warps_n, m_steps, n_steps, a_by_k, b_by_k, a_way, b_way, stages, blocks)                      \
    extern "C" __global__ void __launch_bounds__(warps_m *warps_n * 32, blocks) name(Product p) {                           \
        Tile<warps_m, warps_n, m_steps, n_steps, a_by_k, b_by_k, a_way, b_way, stages>::product(p);                         \
    }                                                                                                                       \
    CUEMU_EXPORT(name)

// Tiles of 128 × 128 where there are many rows and columns, of 64 × 64 where there are not.
MATMUL(matmul_nt_128, 2, 2, 4, 8, false, false, COPIED, COPIED, 3, 2)
MATMUL(matmul_nn_128, 2, 2, 4, 8, false, true, COPIED, COPIED, 3, 2)
MATMUL(matmul_tn_128, 2, 2, 4, 8, true, true, COPIED, COPIED, 3, 2)
MATMUL(matmul_nt_nf4_128, 2, 2, 4, 8, false, false, COPIED, DECODED, 3, 2)
MATMUL(matmul_nn_nf4_128, 2, 2, 4, 8, false, true, COPIED, DECODED, 3, 2)
MATMUL(matmul_nt_64, 2, 2, 2, 4, false, false, COPIED, COPIED, 3, 4)
MATMUL(matmul_nn_64, 2, 2, 2, 4, false, true, COPIED, COPIED, 3, 4)
MATMUL(matmul_tn_64, 2, 2, 2, 4, true, true, COPIED, COPIED, 3, 4)
MATMUL(matmul_nt_nf4_64, 2, 2, 2, 4, false, false, COPIED, DECODED, 3, 4)
MATMUL(matmul_nn_nf4_64, 2, 2, 2, 4, false, true, COPIED, DECODED, 3, 4)

// Few columns: u = x·Aᵀ, v = dy·B, dB = dyᵀ·u, with A and B in float32. Few rows: dA = vᵀ·x, and a handful of tokens.
MATMUL(matmul_nt_64_16, 4, 1, 1, 2, false, false, COPIED, ANY, 4, 4)
MATMUL(matmul_nn_64_16, 4, 1, 1, 2, false, true, COPIED, ANY, 4, 4)
MATMUL(matmul_tn_64_16, 4, 1, 1, 2, true, true, COPIED, ANY, 4, 4)
MATMUL(matmul_nt_16_64, 1, 4, 1, 2, false, false, ANY, COPIED, 4, 4)
MATMUL(matmul_tn_16_64, 1, 4, 1, 2, true, true, ANY, COPIED, 4, 4)
MATMUL(matmul_nt_nf4_16_64, 1, 4, 1, 2, false, false, ANY, DECODED, 4, 4)

// Operands of any type, aligned or not.
MATMUL(matmul_nt_copied_any, 2, 2, 2, 4, false, false, COPIED, ANY, 3, 3)
MATMUL(matmul_nn_copied_any, 2, 2, 2, 4, false, true, COPIED, ANY, 3, 3)
MATMUL(matmul_nt_any, 2, 2, 2, 4, false, false, ANY, ANY, 2, 3)
MATMUL(matmul_nn_any, 2, 2, 2, 4, false, true, ANY, ANY, 2, 3)
MATMUL(matmul_tn_any, 2, 2, 2, 4, true, true, ANY, ANY, 2, 3)

/// C = scale · the sum of the parts, or added to C.  grid: ceil(n / 256)
template <class T>
__device__ void matmul_sum(const float *partials, int parts, i64 n, float scale, T *c, int accumulate) {
    i64 i = global_thread();
    if (i < n) {
        float sum = 0;
        for (int part = 0; part < parts; part++) {
            sum += partials[part * n + i];
        }
        put(c + i, scale * sum, accumulate);
    }
}
ACTIVATION_KERNEL(matmul_sum, 256, (const float *partials, int parts, i64 n, float scale, T *c, int accumulate),
                  (partials, parts, n, scale, c, accumulate))
