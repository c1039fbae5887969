// y = x · Wᵀ for up to eight rows of x, as when generating: bound by reading W, once.
//
//   C [M, N] = scale · (A · Bᵀ + scale2 · A2 · B2ᵀ), or added to C, for A [M, K], B [N, K], M ≤ 8
//
// The tensor cores are not there for their speed, but since an mma takes W's elements as they lie in memory: W is its left
// operand, 16 rows, and x its right one, 8 columns. Which of K's elements are at which place of a fragment is free as long as
// both operands agree, so every lane keeps what it loaded. A block computes 16 columns of y; its eight warps take turns along K,
// and their sums are added in their order.
//
// In NF4, at 4.8 TB/s a multiprocessor has to decode 41 codes a clock, with 128 instructions of its lanes: 3 a code. So a byte,
// two codes, is looked up in one go, three instructions, in a table of 256 pairs, of which each lane has a copy in a bank of
// its own (32 KiB). The table's values are rounded to bfloat16, as are those of bitsandbytes' kernel for one row; a block's
// scale is applied to its 64 products' sum, in float32. With scales and loads that is about 2.7 instructions a code.
#include "product.cuh"

#define WARPS 8
#define OUTPUTS 16 // of a block
#define MOST_ROWS 8
#define AHEAD 4 // loads under way before the first is used, each 16 or 32 bytes a lane

/// Elements [k, k + 8) of A's row m in bfloat16, zeros outside.
__device__ __forceinline__ uint4 eight_of_x(const Product &p, int m, int k) {
    if (m >= p.rows || k >= p.depth) {
        return make_uint4(0, 0, 0, 0);
    }
    i64 i = (i64)m * p.depth + k;
    if (p.a_type == BF16) {
        return *(const uint4 *)((const bf16 *)p.a + i);
    }
    const float4 *from = (const float4 *)((const float *)p.a + i);
    return make_uint4(bf16_pair(from[0].x, from[0].y), bf16_pair(from[0].z, from[0].w), bf16_pair(from[1].x, from[1].y),
                      bf16_pair(from[1].z, from[1].w));
}

/// Elements [k, k + 8) of B's rows `out` and `out` + 8.
template <class W> struct Pieces;

template <> struct Pieces<bf16> {
    uint4 upper, lower;

    __device__ __forceinline__ static uint4 load(const Product &p, int out, int k) {
        return out < p.cols && k < p.depth ? *(const uint4 *)((const bf16 *)p.b + (i64)out * p.depth + k) : make_uint4(0, 0, 0, 0);
    }
};

template <> struct Pieces<float> {
    uint4 upper, lower;

    __device__ __forceinline__ static uint4 load(const Product &p, int out, int k) {
        if (out >= p.cols || k >= p.depth) {
            return make_uint4(0, 0, 0, 0);
        }
        const float4 *from = (const float4 *)((const float *)p.b + (i64)out * p.depth + k);
        float4 a = from[0], b = from[1];
        return make_uint4(bf16_pair(a.x, a.y), bf16_pair(a.z, a.w), bf16_pair(b.x, b.y), bf16_pair(b.z, b.w));
    }
};

/// This warp's part of 16 × 8 sums, as an mma's: each lane 8 elements of K, 32 a step.
template <class W> __device__ __forceinline__ void dense_sums(const Product &p, int first, float sums[4]) {
    int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    for (int k = 32 * warp + 8 * within; k - 8 * within < p.depth; k += 32 * WARPS * AHEAD) {
        Pieces<W> w[AHEAD];
        uint4 x[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int at = k + 32 * WARPS * i;
            w[i].upper = Pieces<W>::load(p, first + group, at), w[i].lower = Pieces<W>::load(p, first + group + 8, at);
            x[i] = eight_of_x(p, group, at);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const u32 a[4] = {w[i].upper.x, w[i].lower.x, w[i].upper.y, w[i].lower.y}, b[2] = {x[i].x, x[i].y};
            const u32 a2[4] = {w[i].upper.z, w[i].lower.z, w[i].upper.w, w[i].lower.w}, b2[2] = {x[i].z, x[i].w};
            mma_m16n8k16(sums, a, b);
            mma_m16n8k16(sums, a2, b2);
        }
    }
}

typedef u32 PairTable[256][32];

/// Every byte's two values, the upper half's first, a copy for every lane.
__device__ __forceinline__ void fill(PairTable table) {
    u32 byte = threadIdx.x, pair = bf16_pair(__uint_as_float(nf4_bits[byte >> 4]), __uint_as_float(nf4_bits[byte & 15]));
#pragma unroll
    for (int i = 0; i < 8; i++) {
        *(uint4 *)&table[byte][(byte + i) % 8 * 4] = make_uint4(pair, pair, pair, pair);
    }
}

/// What `byte` of four bytes of codes decodes to.
__device__ __forceinline__ u32 look_up(const PairTable table, u32 codes, int byte) {
    u32 row = (byte == 0 ? codes << 7 : codes >> (8 * byte - 7)) & 0x7f80;
    return *(const u32 *)((const char *)table + (row | threadIdx.x % 32 * 4));
}

/// A lane's 16 codes of the block at element k of rows `out` and `out` + 8, and the blocks' scales.
struct CodePieces {
    uint2 upper, lower;
    float upper_scale, lower_scale;

    __device__ __forceinline__ static void load(const Product &p, int out, int k, uint2 &codes, float &scale) {
        codes = make_uint2(0, 0), scale = 0;
        if (out < p.cols && k < p.depth) {
            i64 i = (i64)out * p.depth + k;
            codes = *(const uint2 *)((const u8 *)p.b + i / 2 + threadIdx.x % 4 * 8);
            scale = block_scale({p.scale_codes, p.scales, p.map, p.offset}, i);
        }
    }
};

/// The same of NF4: each lane 16 elements of K, a block of 64 a step.
__device__ __forceinline__ void nf4_sums(const Product &p, int first, const PairTable table, float sums[4]) {
    int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    for (int k = 64 * warp; k < p.depth; k += 64 * WARPS * AHEAD) {
        CodePieces w[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int at = k + 64 * WARPS * i;
            CodePieces::load(p, first + group, at, w[i].upper, w[i].upper_scale);
            CodePieces::load(p, first + group + 8, at, w[i].lower, w[i].lower_scale);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int at = k + 64 * WARPS * i + 16 * within;
            uint4 x = eight_of_x(p, group, at), y = eight_of_x(p, group, at + 8);
            const u32 xs[8] = {x.x, x.y, x.z, x.w, y.x, y.y, y.z, y.w};
            float block[4] = {0, 0, 0, 0};
#pragma unroll
            for (int pair = 0; pair < 8; pair += 2) {
                u32 upper = pair < 4 ? w[i].upper.x : w[i].upper.y, lower = pair < 4 ? w[i].lower.x : w[i].lower.y;
                const u32 a[4] = {look_up(table, upper, pair % 4), look_up(table, lower, pair % 4),
                                  look_up(table, upper, pair % 4 + 1), look_up(table, lower, pair % 4 + 1)};
                mma_m16n8k16(block, a, xs + pair);
            }
            sums[0] += block[0] * w[i].upper_scale, sums[1] += block[1] * w[i].upper_scale;
            sums[2] += block[2] * w[i].lower_scale, sums[3] += block[3] * w[i].lower_scale;
        }
    }
}

/// Adds up the warps' sums and the second term, a thread an element of C.
__device__ __forceinline__ void put_sums(const Product &p, int first, const float sums[4]) {
    __shared__ float parts[WARPS][OUTPUTS][MOST_ROWS];
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        parts[threadIdx.x / 32][group + i / 2 * 8][2 * within + i % 2] = sums[i];
    }
    __syncthreads();
    int out = threadIdx.x % OUTPUTS, row = threadIdx.x / OUTPUTS;
    if (row >= p.rows || first + out >= p.cols) {
        return;
    }
    float sum = 0, second = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        sum += parts[w][out][row];
    }
    for (int r = 0; r < p.depth2; r++) {
        second += load(p.a2, p.a2_type, (i64)row * p.depth2 + r) * load(p.b2, p.b2_type, (i64)(first + out) * p.depth2 + r);
    }
    float y = p.scale * (sum + p.scale2 * second);
    i64 i = (i64)row * p.cols + first + out;
    if (p.c_type == F32) {
        put((float *)p.c + i, y, p.accumulate);
    } else {
        put((bf16 *)p.c + i, y, p.accumulate);
    }
}

// Of B in NF4; K a multiple of 64.  grid: ceil(N / 16)
extern "C" __global__ void __launch_bounds__(WARPS * 32) few_rows_nf4(Product p) {
    __shared__ __align__(16) PairTable table;
    fill(table);
    __syncthreads();
    float sums[4] = {0, 0, 0, 0};
    nf4_sums(p, blockIdx.x * OUTPUTS, table, sums);
    put_sums(p, blockIdx.x * OUTPUTS, sums);
}
CUEMU_EXPORT(few_rows_nf4)

// Of B in bfloat16 or float32; K a multiple of 8.  grid: ceil(N / 16)
template <class W> __device__ void few_rows(Product p) {
    float sums[4] = {0, 0, 0, 0};
    dense_sums<W>(p, blockIdx.x * OUTPUTS, sums);
    put_sums(p, blockIdx.x * OUTPUTS, sums);
}
ACTIVATION_KERNEL(few_rows, WARPS * 32, (Product p), (p))
