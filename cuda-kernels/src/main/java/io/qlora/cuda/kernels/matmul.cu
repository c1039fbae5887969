// The matrix product, on tensor cores: C = scale · (A·B + scale2 · A2·B2), or added to C.
//
// One product for everything: operands may be float32, bfloat16, float16, and B may be in NF4, decoded on its way into
// shared memory; all are rounded to bfloat16 there and summed in float32. The second term is a LoRA adapter riding along: a
// few more steps of the same sum. C is float32 or bfloat16.
//
//   nt: A [M, K], B [N, K]     y = x · Wᵀ
//   nn: A [M, K], B [K, N]     dx = dy · W
//   tn: A [K, M], B [K, N]     dW = dyᵀ · x
//
// A block computes a tile of C, its warps a part of that each, over K in steps of DEPTH. Two buffers in shared memory: while
// one is multiplied, the next step's elements are on their way to registers.

#define DEPTH 32
#define STRIDE (DEPTH + 8) // of a row in shared memory: eight more, so that a fragment's rows fall into different banks

/// A matrix in memory. `cols` is the length of its rows.
struct Operand {
    const void *data;
    int type, rows, cols;
    Scales scales; // of NF4
    bool wide; // rows are aligned multiples of eight elements
};

__device__ __forceinline__ Operand plain(const void *data, int type, int rows, int cols) {
    return {data, type, rows, cols, {}, cols % 8 == 0 && aligned(data)};
}

/// Eight neighbours of a row as they lie in memory.
struct Raw {
    uint4 a, b;
};

__device__ __forceinline__ float element(const Operand &m, i64 i, const float *codebook) {
    if (m.type == NF4) {
        u32 pair = ((const u8 *)m.data)[i / 2];
        return codebook[i % 2 == 0 ? pair >> 4 : pair & 15] * block_scale(m.scales, i);
    }
    return load(m.data, m.type, i);
}

/// Fetches elements [col, col + 8) of a row; zeros outside of the matrix.
__device__ __forceinline__ Raw fetch(const Operand &m, int row, int col, const float *codebook) {
    Raw raw = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    if (row >= m.rows || col >= m.cols) {
        return raw;
    }
    i64 i = (i64)row * m.cols + col;
    if (!m.wide) { // one by one, rounded at once and shifted in from the top
#pragma unroll 1
        for (int k = 0; k < 8; k++) {
            u32 bits = col + k < m.cols ? bf16_pair(0, element(m, i + k, codebook)) : 0;
            raw.a.x = raw.a.x >> 16 | raw.a.y << 16, raw.a.y = raw.a.y >> 16 | raw.a.z << 16;
            raw.a.z = raw.a.z >> 16 | raw.a.w << 16, raw.a.w = raw.a.w >> 16 | bits;
        }
    } else if (m.type == F32) {
        raw.a = *(const uint4 *)((const float *)m.data + i);
        raw.b = *(const uint4 *)((const float *)m.data + i + 4);
    } else if (m.type == NF4) {
        raw.a.x = *(const u32 *)((const u8 *)m.data + i / 2);
        raw.a.y = __float_as_uint(block_scale(m.scales, i));
    } else {
        raw.a = *(const uint4 *)((const u16 *)m.data + i);
    }
    return raw;
}

__device__ __forceinline__ u32 round_pair(u32 low, u32 high) { return bf16_pair(__uint_as_float(low), __uint_as_float(high)); }

__device__ __forceinline__ u32 round_halves(u32 pair) {
    return bf16_pair(f16_to_f32((u16)pair), f16_to_f32((u16)(pair >> 16)));
}

/// A byte of NF4 codes, the first in its upper half.
__device__ __forceinline__ u32 decode_pair(u32 byte, float scale, const float *codebook) {
    return bf16_pair(codebook[byte >> 4 & 15] * scale, codebook[byte & 15] * scale);
}

/// The fetched elements rounded to bfloat16.
__device__ __forceinline__ uint4 rounded(const Operand &m, const Raw &raw, const float *codebook) {
    if (!m.wide || m.type == BF16) {
        return raw.a;
    }
    if (m.type == F32) {
        return make_uint4(round_pair(raw.a.x, raw.a.y), round_pair(raw.a.z, raw.a.w), round_pair(raw.b.x, raw.b.y),
                          round_pair(raw.b.z, raw.b.w));
    }
    if (m.type == NF4) {
        float scale = __uint_as_float(raw.a.y);
        return make_uint4(decode_pair(raw.a.x, scale, codebook), decode_pair(raw.a.x >> 8, scale, codebook),
                          decode_pair(raw.a.x >> 16, scale, codebook), decode_pair(raw.a.x >> 24, scale, codebook));
    }
    return make_uint4(round_halves(raw.a.x), round_halves(raw.a.y), round_halves(raw.a.z), round_halves(raw.a.w));
}

/// One operand's part of a step: ROWS × DEPTH elements on their way to shared memory, shared among THREADS threads. With
/// TRANSPOSED, depth runs along the matrix's rows, and the elements change places when they are put down.
template <int ROWS, int THREADS, bool TRANSPOSED> struct Panel {
    static constexpr int CHUNKS = ROWS * DEPTH / 8 / THREADS;
    Raw raw[CHUNKS];

    __device__ __forceinline__ static int depth(int chunk) {
        int i = chunk * THREADS + threadIdx.x;
        return TRANSPOSED ? i % DEPTH : i % (DEPTH / 8) * 8;
    }

    __device__ __forceinline__ static int row(int chunk) {
        int i = chunk * THREADS + threadIdx.x;
        return TRANSPOSED ? i / DEPTH * 8 : i / (DEPTH / 8);
    }

    __device__ __forceinline__ void take(const Operand &m, int first, int k, const float *codebook) {
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            raw[c] = TRANSPOSED ? fetch(m, k + depth(c), first + row(c), codebook)
                                : fetch(m, first + row(c), k + depth(c), codebook);
        }
    }

    __device__ __forceinline__ void put_down(const Operand &m, u16 (*tile)[STRIDE], const float *codebook) const {
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) {
            uint4 eight = rounded(m, raw[c], codebook);
            if (TRANSPOSED) {
                u32 pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    tile[row(c) + i][depth(c)] = (u16)(pairs[i / 2] >> (i % 2 * 16));
                }
            } else {
                *(uint4 *)&tile[row(c)][depth(c)] = eight;
            }
        }
    }
};

/// Sets an element of C, or adds to it.
__device__ __forceinline__ void put(void *c, int type, i64 i, float x, int accumulate) {
    if (type == F32) {
        put((float *)c + i, x, accumulate);
    } else {
        put((bf16 *)c + i, x, accumulate);
    }
}

/// A block's tile of C: WARPS_M × WARPS_N warps, each 16·M_STEPS × 8·N_STEPS.
template <int WARPS_M, int WARPS_N, int M_STEPS, int N_STEPS, bool A_T, bool B_T> struct Tile {
    static constexpr int ROWS = WARPS_M * M_STEPS * 16, COLS = WARPS_N * N_STEPS * 8, THREADS = WARPS_M * WARPS_N * 32;

    /// sums += A·B, over all of K, which is A's and B's common extent
    __device__ __forceinline__ static void accumulate(const Operand &a, const Operand &b, int depth, int first_row, int first_col,
                                                      float sums[M_STEPS][N_STEPS][4], u16 (*tile_a)[ROWS][STRIDE],
                                                      u16 (*tile_b)[COLS][STRIDE], const float *codebook) {
        Panel<ROWS, THREADS, A_T> panel_a;
        Panel<COLS, THREADS, B_T> panel_b;
        panel_a.take(a, first_row, 0, codebook);
        panel_b.take(b, first_col, 0, codebook);
        int buffer = 0;
        for (int k = 0; k < depth; k += DEPTH) {
            panel_a.put_down(a, tile_a[buffer], codebook);
            panel_b.put_down(b, tile_b[buffer], codebook);
            __syncthreads();
            if (k + DEPTH < depth) {
                panel_a.take(a, first_row, k + DEPTH, codebook);
                panel_b.take(b, first_col, k + DEPTH, codebook);
            }
            multiply(tile_a[buffer], tile_b[buffer], sums);
            buffer ^= 1;
        }
        __syncthreads();
    }

    /// sums += the product of what is in shared memory, the part of this warp
    __device__ __forceinline__ static void multiply(const u16 (*tile_a)[STRIDE], const u16 (*tile_b)[STRIDE],
                                                    float sums[M_STEPS][N_STEPS][4]) {
        int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
        int row = warp / WARPS_N * M_STEPS * 16, col = warp % WARPS_N * N_STEPS * 8;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 16) {
            u32 a[M_STEPS][4], b[N_STEPS][2];
#pragma unroll
            for (int m = 0; m < M_STEPS; m++) {
                const u16 *upper = &tile_a[row + 16 * m + group][k + 2 * within], *lower = upper + 8 * STRIDE;
                a[m][0] = *(const u32 *)upper, a[m][1] = *(const u32 *)lower;
                a[m][2] = *(const u32 *)(upper + 8), a[m][3] = *(const u32 *)(lower + 8);
            }
#pragma unroll
            for (int n = 0; n < N_STEPS; n++) {
                const u16 *right = &tile_b[col + 8 * n + group][k + 2 * within];
                b[n][0] = *(const u32 *)right, b[n][1] = *(const u32 *)(right + 8);
            }
#pragma unroll
            for (int m = 0; m < M_STEPS; m++) {
#pragma unroll
                for (int n = 0; n < N_STEPS; n++) {
                    mma_m16n8k16(sums[m][n], a[m], b[n]);
                }
            }
        }
    }

    __device__ __forceinline__ static void store(const float sums[M_STEPS][N_STEPS][4], void *c, int type, int accumulate,
                                                 int first_row, int first_col, int rows, int cols) {
        int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
        int row = first_row + warp / WARPS_N * M_STEPS * 16 + group, col = first_col + warp % WARPS_N * N_STEPS * 8 + 2 * within;
#pragma unroll
        for (int m = 0; m < M_STEPS; m++) {
#pragma unroll
            for (int n = 0; n < N_STEPS; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int y = row + 16 * m + i / 2 * 8, x = col + 8 * n + i % 2;
                    if (y < rows && x < cols) {
                        put(c, type, (i64)y * cols + x, sums[m][n][i], accumulate);
                    }
                }
            }
        }
    }
};

#define SLOT __align__(8) // as CudaMatMul writes it: eight bytes each

/// What a launch is given; see the top of the file.
struct Product {
    SLOT const void *a;
    SLOT int a_type;
    SLOT const void *b;
    SLOT int b_type;
    SLOT const u8 *scale_codes; // of B in NF4
    SLOT const float *scales;
    SLOT const float *map;
    SLOT float offset;
    SLOT int depth; // K
    SLOT const void *a2;
    SLOT int a2_type;
    SLOT const void *b2;
    SLOT int b2_type;
    SLOT int depth2; // 0: no second term
    SLOT float scale;
    SLOT float scale2;
    SLOT void *c;
    SLOT int c_type;
    SLOT int accumulate;
    SLOT int rows; // M
    SLOT int cols; // N
};

// grid: (ceil(M / ROWS), ceil(N / COLS)): neighbours along x share B's columns
template <int WARPS_M, int WARPS_N, int M_STEPS, int N_STEPS, bool A_T, bool B_T>
__device__ __forceinline__ void matmul(const Product &p) {
    typedef Tile<WARPS_M, WARPS_N, M_STEPS, N_STEPS, A_T, B_T> T;
    __shared__ __align__(16) u16 tile_a[2][T::ROWS][STRIDE];
    __shared__ __align__(16) u16 tile_b[2][T::COLS][STRIDE];
    __shared__ float codebook[16];
    load_codebook(codebook);
    float sums[M_STEPS][N_STEPS][4] = {};
    int first_row = blockIdx.x * T::ROWS, first_col = blockIdx.y * T::COLS;
    for (int term = p.depth2 > 0 ? 2 : 1; term > 0; term--) { // the second first, since it has a scale of its own
        int depth = term == 2 ? p.depth2 : p.depth;
        Operand a = plain(term == 2 ? p.a2 : p.a, term == 2 ? p.a2_type : p.a_type, A_T ? depth : p.rows, A_T ? p.rows : depth);
        Operand b = plain(term == 2 ? p.b2 : p.b, term == 2 ? p.b2_type : p.b_type, B_T ? depth : p.cols, B_T ? p.cols : depth);
        b.scales = {p.scale_codes, p.scales, p.map, p.offset};
        T::accumulate(a, b, depth, first_row, first_col, sums, tile_a, tile_b, codebook);
        float factor = term == 2 ? p.scale2 : p.scale;
#pragma unroll
        for (int i = 0; i < M_STEPS * N_STEPS * 4; i++) {
            sums[i / (N_STEPS * 4)][i / 4 % N_STEPS][i % 4] *= factor;
        }
    }
    T::store(sums, p.c, p.c_type, p.accumulate, first_row, first_col, p.rows, p.cols);
}

#define MATMUL(name, warps_m, warps_n, m_steps, n_steps, a_transposed, b_transposed)                                           \
    extern "C" __global__ void __launch_bounds__(warps_m *warps_n * 32) name(Product p) {                                      \
        matmul<warps_m, warps_n, m_steps, n_steps, a_transposed, b_transposed>(p);                                             \
    }                                                                                                                          \
    CUEMU_EXPORT(name)

// Tiles of 128 × 128 where there are many rows and columns, of 64 × 64 where there are not.
MATMUL(matmul_nt_128, 2, 4, 4, 4, false, false)
MATMUL(matmul_nn_128, 2, 4, 4, 4, false, true)
MATMUL(matmul_tn_128, 2, 4, 4, 4, true, true)
MATMUL(matmul_nt_64, 2, 2, 2, 4, false, false)
MATMUL(matmul_nn_64, 2, 2, 2, 4, false, true)
MATMUL(matmul_tn_64, 2, 2, 2, 4, true, true)
