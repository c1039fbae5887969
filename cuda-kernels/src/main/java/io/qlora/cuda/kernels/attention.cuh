// Attention on tensor cores, grouped-query, causal within a document: io.qlora.engine.ops.Attention, whose names are used
// here. As in FlashAttention-2 (Dao 2023), nothing of size T × T is in memory: each block owns some rows, 16 a warp, and walks
// over the others in tiles, the next of which is on its way to shared memory while one is worked on. Whoever has most to do
// begins first. Heads are padded with zeros to WIDTH, 32, 64, 128 or 256; all products are of bfloat16, summed in float32.
//
// The forward kernel and that of dq own queries, that of dk and dv owns keys and walks over the queries of all heads of its
// group. Nothing is added to from two blocks, so the order of every sum is fixed. The price is two products more in the backward
// pass, seven instead of five, since both of its kernels need s and dp: at T = 4096 and 32 heads of 128, 69 GFLOP each, that is
// 0.23 ms at 600 TFLOP/s. The other way, one kernel that adds its shares of dq to memory, 4·128 bytes a row of every tile of 128
// keys, moves 1.1 GB through L2's atomic units, 0.4 ms at 2.5 TB/s, and each block has to wait for the one before it in the
// fixed order. Both are estimates; neither was measured.
//
// What wgmma's kernels should take, of heads of 128 on an H200, in clocks a multiprocessor: 128 queries by 128 keys are 1024 a
// product, 2048 forward, 3072 for dq, 4096 for dk and dv. Beside them run 16384 exponentials, 1024 in each of the three, and
// 4 to 7 instructions an element, 500 to 900; a product of two shared tiles with 64 columns reads 128 B a clock, all there is.
// At T = 4096 and 32 heads a multiprocessor has 128 such squares: 1.18 million clocks, 0.67 ms at 1.755 GHz were the tensor
// cores never to wait, for 481 GFLOP of seven products. Estimates as well.
//
// Two kinds of each kernel differ in how they multiply only. With mma.sync a warp reads its operands from shared memory; on
// sm_90a (GROUPS) four warps together give wgmma a tile in shared memory. Fragments of sums and of left operands lie alike.

#define LOG2_E 1.4426950408889634f

/// What a launch is given: eight bytes each, as CudaAttention writes it.
#define SLOT __align__(8)
struct AttentionCall {
    SLOT const void *q; // [T, H·D]
    SLOT const void *k; // [U, K·D]
    SLOT const void *v;
    SLOT int type; // of all activations
    SLOT const int *offsets; // [S + 1]; null with S = 0: one document
    SLOT int documents;      // S
    SLOT int queries;        // T
    SLOT int keys;           // U
    SLOT int past;           // query t is at position past + t
    SLOT int heads;
    SLOT int kv_heads;
    SLOT int size; // D
    SLOT float scale;
    SLOT void *y; // [T, H·D]; backward: read
    SLOT float *log_sum_exp; // [H, T], or null
    // backward only
    SLOT const void *dy;
    SLOT float *delta; // [H, T]
    SLOT void *dq;
    SLOT int accumulate_q;
    SLOT void *dk;
    SLOT int accumulate_k;
    SLOT void *dv;
    SLOT int accumulate_v;
};

// ---- tiles in shared memory: 128 bytes a row, then the next 64 columns of all rows; swizzled as wgmma would have it -------

__device__ constexpr int bytes_of_tile(int rows, int width) { return rows * (width < 64 ? 64 : width) * 2; }

/// Rows [first, first + ROWS) of head h, rounded to bfloat16; zeros outside. Done when `tiles_there` says so.
template <int ROWS, int WIDTH, int THREADS>
__device__ __forceinline__ void load_tile(u32 tile, const void *data, int heads, int h, const AttentionCall &p, int first, int rows) {
    const int CHUNKS = WIDTH < 128 ? WIDTH / 8 : 16, STEP = THREADS / CHUNKS; // of 16 bytes, and rows: at once
    static_assert(STEP % 8 == 0 && ROWS % STEP == 0, "a thread keeps its place in the swizzle");
    i64 stride = (i64)heads * p.size;
    int chunk = threadIdx.x % CHUNKS, row = threadIdx.x / CHUNKS;
    u32 to = tile + chunk / 8 * (ROWS * 128) + row * 128 + (chunk % 8 ^ row % 8) * 16;
#pragma unroll
    for (int d = 8 * chunk; d < 8 * chunk + WIDTH; d += 8 * CHUNKS, to += CHUNKS / 8 * (ROWS * 128)) {
        i64 from = (first + row) * stride + h * p.size + d;
        if (p.type == BF16 && p.size % 8 == 0) {
#pragma unroll
            for (int i = 0; i < ROWS; i += STEP) {
                bool there = first + row + i < rows && d < p.size;
                copy16_async(to + i * 128, (const bf16 *)data + (there ? from + i * stride : 0), there);
            }
        } else {
#pragma unroll 1
            for (int i = 0; i < ROWS; i += STEP) {
                float v[8] = {0, 0, 0, 0, 0, 0, 0, 0};
                if (first + row + i < rows && d < p.size) {
                    load8(data, p.type, from + i * stride, from + i * stride + p.size - d, v);
                }
                store_shared16(to + i * 128, make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]),
                                                        bf16_pair(v[6], v[7])));
            }
        }
    }
}

/// Waits for all tiles that are on their way. Afterwards those of the step before last may be overwritten.
template <bool GROUPS> __device__ __forceinline__ void tiles_there() {
    wait_for_copies<0>();
#ifdef WARPGROUPS
    if constexpr (GROUPS) {
        publish_to_products();
    }
#endif
    __syncthreads();
}

// ---- products ----------------------------------------------------------------------------------------------------------

/// s = own rows · (others' rows)ᵀ, of OWN and TILE rows of WIDTH: 16 × TILE a warp; there after `finish`.
template <int OWN, int TILE, int WIDTH, bool GROUPS>
__device__ __forceinline__ void times_rows(float s[TILE / 8][4], u32 own, u32 others) {
#ifdef WARPGROUPS
    if constexpr (GROUPS) {
        u32 mine = own + threadIdx.x / 128 * (64 * 128);
        begin_products();
#pragma unroll
        for (int k = 0; k < WIDTH / 16; k++) {
            warpgroup_mma<TILE, 0>(s, tile_of_products(mine + k / 4 * (OWN * 128) + k % 4 * 32, 0),
                                   tile_of_products(others + k / 4 * (TILE * 128) + k % 4 * 32, 0), k > 0);
        }
        end_products();
        return;
    }
#endif
    int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane % 16, column = lane % 8 + lane / 16 * 8;
    u32 left = own + row * 128 + (lane / 16 ^ row % 8) * 16, right = others + column * 128 + (lane / 8 % 2 ^ column % 8) * 16;
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) {
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
    }
#pragma unroll
    for (int k = 0; k < WIDTH / 16; k++) {
        u32 a[4], b[4];
        load_matrices(a, (left ^ k % 4 * 32) + k / 4 * (OWN * 128));
#pragma unroll
        for (int n = 0; n < TILE / 16; n++) {
            load_matrices(b, (right ^ k % 4 * 32) + k / 4 * (TILE * 128) + n * (16 * 128));
            mma_m16n8k16(s[2 * n], a, b);
            mma_m16n8k16(s[2 * n + 1], a, b + 2);
        }
    }
}

/// sums += w · others, for w of 16 × TILE a warp, as `rounded` leaves it, and COLUMNS columns of others; after `finish`.
template <int TILE, int COLUMNS, bool GROUPS>
__device__ __forceinline__ void add_weighted(float sums[COLUMNS / 8][4], const u32 w[TILE / 16][4], u32 others) {
#ifdef WARPGROUPS
    if constexpr (GROUPS) {
        begin_products();
#pragma unroll
        for (int k = 0; k < TILE / 16; k++) {
            warpgroup_mma<COLUMNS, 1>(sums, w[k], tile_of_products(others + k * (16 * 128), TILE * 128), 1);
        }
        end_products();
        return;
    }
#endif
    int row = threadIdx.x % 16;
    u32 right = others + row * 128 + (threadIdx.x % 32 / 16 ^ row % 8) * 16;
#pragma unroll
    for (int k = 0; k < TILE / 16; k++) {
#pragma unroll
        for (int n = 0; n < COLUMNS / 16; n++) {
            u32 b[4];
            load_transposed(b, (right ^ n % 4 * 32) + n / 4 * (TILE * 128) + k * (16 * 128));
            mma_m16n8k16(sums[2 * n], w[k], b);
            mma_m16n8k16(sums[2 * n + 1], w[k], b + 2);
        }
    }
}

/// Waits for the product that gives these sums, when PENDING younger ones are under way.
template <int PENDING, int COUNT, bool GROUPS> __device__ __forceinline__ void finish(float sums[COUNT][4]) {
#ifdef WARPGROUPS
    if constexpr (GROUPS) {
        wait_for_products<PENDING>();
        settled<COUNT>(sums);
    }
#endif
}

/// The same where it is a product with this left operand, which may be overwritten afterwards.
template <int PENDING, int COUNT, int TILE, bool GROUPS> __device__ __forceinline__ void finish(float sums[COUNT][4], u32 w[TILE / 16][4]) {
    finish<PENDING, COUNT, GROUPS>(sums);
#ifdef WARPGROUPS
    if constexpr (GROUPS) {
        held<TILE / 16>(w);
    }
#endif
}

/// Sums as a left operand in bfloat16.
template <int TILE> __device__ __forceinline__ void rounded(u32 w[TILE / 16][4], const float s[TILE / 8][4]) {
#pragma unroll
    for (int k = 0; k < TILE / 16; k++) {
        w[k][0] = bf16_pair(s[2 * k][0], s[2 * k][1]);
        w[k][1] = bf16_pair(s[2 * k][2], s[2 * k][3]);
        w[k][2] = bf16_pair(s[2 * k + 1][0], s[2 * k + 1][1]);
        w[k][3] = bf16_pair(s[2 * k + 1][2], s[2 * k + 1][3]);
    }
}

// ---- rows: a thread has parts of two, row() and row() + 8 of its block's, and in these columns 8n + 2·within and the next ---

__device__ __forceinline__ int row() { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4; }
__device__ __forceinline__ int within() { return threadIdx.x % 4; }

/// Which of the others this thread's two rows see: from the first to the last of them, the second's no earlier than the first's.
struct Sight {
    int first[2], last[2];
};

/// Scores of what a row does not see are −∞; `from` is the tile's first column. Most tiles are seen whole by all of the warp.
template <int TILE> __device__ __forceinline__ void mask(float s[TILE / 8][4], const Sight &sight, int from) {
    bool whole = from >= sight.first[1] && from + TILE - 1 <= sight.last[0];
    if (__ballot_sync(FULL_WARP, whole) == FULL_WARP) {
        return;
    }
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int other = from + 8 * n + 2 * within() + i % 2;
            s[n][i] = other >= sight.first[i / 2] && other <= sight.last[i / 2] ? s[n][i] : -INFINITE;
        }
    }
}

/// Sets or adds two neighbours, the second of which may be outside.
template <class T> __device__ __forceinline__ void put2(T *to, float x, float y, bool both, int accumulate) {
    put(to, x, accumulate);
    if (both) {
        put(to + 1, y, accumulate);
    }
}

/// Of four lanes with four values each, the first gets the first of all, in the order of the lanes, and so on.
__device__ __forceinline__ void turn_around(u32 v[4]) {
    bool odd = threadIdx.x % 2, upper = threadIdx.x % 4 / 2;
    u32 a = __shfl_xor_sync(FULL_WARP, odd ? v[0] : v[1], 1), b = __shfl_xor_sync(FULL_WARP, odd ? v[2] : v[3], 1);
    v[0] = odd ? a : v[0], v[1] = odd ? v[1] : a, v[2] = odd ? b : v[2], v[3] = odd ? v[3] : b;
    a = __shfl_xor_sync(FULL_WARP, upper ? v[0] : v[2], 2), b = __shfl_xor_sync(FULL_WARP, upper ? v[1] : v[3], 2);
    v[0] = upper ? a : v[0], v[1] = upper ? b : v[1], v[2] = upper ? v[2] : a, v[3] = upper ? v[3] : b;
}

/// Stores COLUMNS columns, from `column` on, of a warp's rows of head h, times their factors, or adds them. Nothing else runs on
/// a multiprocessor meanwhile, so bfloat16 goes out 16 bytes a thread: pairs would take eight times as many lines.
template <int COLUMNS>
__device__ __forceinline__ void store_rows(const float sums[COLUMNS / 8][4], void *to, int accumulate, int heads, int h,
                                           const AttentionCall &p, int first, int rows, int column, const float factor[2]) {
    bool eights = p.type == BF16 && !accumulate && p.size % 8 == 0;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int t = first + row() + 8 * r;
        i64 from = ((i64)t * heads + h) * p.size;
        if (eights) {
#pragma unroll
            for (int n = 0; n < COLUMNS / 8; n += 4) {
                u32 v[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    v[i] = bf16_pair(sums[n + i][2 * r] * factor[r], sums[n + i][2 * r + 1] * factor[r]);
                }
                turn_around(v);
                int d = column + 8 * (n + within());
                if (t < rows && d < p.size) {
                    *(uint4 *)((bf16 *)to + from + d) = make_uint4(v[0], v[1], v[2], v[3]);
                }
            }
            continue;
        }
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++) {
            int d = column + 8 * n + 2 * within();
            float x = sums[n][2 * r] * factor[r], y = sums[n][2 * r + 1] * factor[r];
            if (t >= rows || d >= p.size) {
                continue;
            }
            if (p.type == F32) {
                put2((float *)to + from + d, x, y, d + 1 < p.size, accumulate);
            } else {
                put2((bf16 *)to + from + d, x, y, d + 1 < p.size, accumulate);
            }
        }
    }
}

/// Where the document of a token starts, or ends; one document where there are no offsets.
__device__ __forceinline__ int document_start(const int *offsets, int count, int t) {
    int low = 0;
    for (int high = count; low + 1 < high;) {
        int middle = (low + high) / 2;
        if (offsets[middle] <= t) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return count > 0 ? offsets[low] : 0;
}

__device__ __forceinline__ int document_end(const int *offsets, int count, int t, int rows) {
    for (int low = 0, high = count; low < high;) {
        int middle = (low + high) / 2;
        if (offsets[middle] > t) {
            high = middle;
        } else {
            low = middle + 1;
        }
        if (low == high) {
            return offsets[low];
        }
    }
    return rows;
}

// ---- kernels -------------------------------------------------------------------------------------------------------------

/// True, which the compiler cannot know: within a block of code it moves the wait for products above the exponentials that are
/// to run beside them.
#define IN_A_BLOCK_OF_ITS_OWN(p) ((p).heads > 0)

#define ATTENTION(name, threads, ...)                                                                                  \
    extern "C" __global__ void __launch_bounds__(threads, 1) name(AttentionCall p) { __VA_ARGS__(p); }                 \
    CUEMU_EXPORT(name)
