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
// two codes, is looked up in one go, two instructions, in a table of 256 pairs, of which each lane has a copy in a bank of its own
// (32 KiB). The table's values are rounded to bfloat16, as are those of bitsandbytes' kernel for one row; a block's
// scale is applied to its 64 products' sum, in float32.
//
// Nothing waits for memory but the first span: a warp copies the codes of 16 rows × 256, in whole lines, to two stages of its
// own in shared memory, the second while it multiplies the first; and it goes on so from rows to rows, since its block stays on
// the multiprocessor. Of a span's scales each lane fetches two, and shows them to the others. That makes about 3 instructions a
// code, all in all.
#include "product.cuh"

#define WARPS 8
#define OUTPUTS 16 // of a block
#define MOST_ROWS 8
#define AHEAD 4 // loads of a dense W under way before the first is used, each 16 or 32 bytes a lane
#define SPAN 256 // elements of K in NF4 that a warp takes at a time: 128 bytes of a row's codes

/// Eight elements rounded to bfloat16.
__device__ __forceinline__ uint4 rounded8(const bf16 *from) { return *(const uint4 *)from; }

__device__ __forceinline__ uint4 rounded8(const float *from) {
    float v[8];
    load8(from, v);
    return make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
}

/// Elements [k, k + 8) of A's row m, zeros outside.
__device__ __forceinline__ uint4 eight_of_x(const Product &p, int m, int k) {
    if (m >= p.rows || k >= p.depth) {
        return make_uint4(0, 0, 0, 0);
    }
    i64 i = (i64)m * p.depth + k;
    return p.a_type == BF16 ? rounded8((const bf16 *)p.a + i) : rounded8((const float *)p.a + i);
}

/// Elements [k, k + 8) of B's row `out`, zeros outside.
template <class W> __device__ __forceinline__ uint4 eight_of_w(const Product &p, int out, int k) {
    return out < p.cols && k < p.depth ? rounded8((const W *)p.b + (i64)out * p.depth + k) : make_uint4(0, 0, 0, 0);
}

/// This warp's part of 16 × 8 sums, as an mma's: each lane 8 elements of K, 32 a step.
template <class W> __device__ __forceinline__ void dense_sums(const Product &p, int first, float sums[4]) {
    int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    for (int k = 32 * warp + 8 * within; k - 8 * within < p.depth; k += 32 * WARPS * AHEAD) {
        uint4 upper[AHEAD], lower[AHEAD], x[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int at = k + 32 * WARPS * i;
            upper[i] = eight_of_w<W>(p, first + group, at), lower[i] = eight_of_w<W>(p, first + group + 8, at);
            x[i] = eight_of_x(p, group, at);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const u32 a[4] = {upper[i].x, lower[i].x, upper[i].y, lower[i].y}, b[2] = {x[i].x, x[i].y};
            const u32 a2[4] = {upper[i].z, lower[i].z, upper[i].w, lower[i].w}, b2[2] = {x[i].z, x[i].w};
            mma_m16n8k16(sums, a, b);
            mma_m16n8k16(sums, a2, b2);
        }
    }
}

// Shared memory is of 256 rows of 256 bytes. The first half of a row is what a byte of codes, the row's number, decodes to, a copy
// for every lane; so one byte permutation makes an address of a byte and the lane. The other halves are the warps' stages, two of
// 16 rows each.
#define ROW_BYTES 256
#define STAGE_BYTES (OUTPUTS * ROW_BYTES)

/// Every byte's two values, the upper half's first.
__device__ __forceinline__ void fill(char *table) {
    u32 byte = threadIdx.x, pair = bf16_pair(__uint_as_float(nf4_bits[byte >> 4]), __uint_as_float(nf4_bits[byte & 15]));
#pragma unroll
    for (int i = 0; i < 8; i++) {
        *(uint4 *)(table + byte * ROW_BYTES + (byte + i) % 8 * 16) = make_uint4(pair, pair, pair, pair);
    }
}

/// What `byte` of four bytes of codes decodes to.
__device__ __forceinline__ u32 look_up(const char *table, u32 codes, int byte) {
    return *(const u32 *)(table + permute(codes, threadIdx.x % 32 * 4, 0x5504 | byte << 4));
}

/// Where a warp is on its way through W: elements [k, k + SPAN) of the rows from `first` on. Its spans of a block's 16 rows, and
/// then those of the next 16.
struct Span {
    int first, k;

    __device__ __forceinline__ explicit Span(int warp) : first(blockIdx.x * OUTPUTS), k(SPAN * warp) {}

    __device__ __forceinline__ bool there(const Product &p) const { return k < p.depth && first < p.cols; }

    __device__ __forceinline__ void next(const Product &p, int warp) {
        k += SPAN * WARPS;
        if (k >= p.depth) {
            k = SPAN * warp, first += gridDim.x * OUTPUTS;
        }
    }
};

/// A span on its way: the codes to shared memory, and the scales of a block of rows `group` and `group` + 8, a block a lane.
struct Pending {
    RawScale upper = {0, 0}, lower = {0, 0};

    /// Begins to fetch it, if it is there.
    __device__ __forceinline__ void begin(const Product &p, const Span &span, u32 stage) {
        int lane = threadIdx.x % 32;
        if (span.there(p)) {
            int line = lane / 8, chunk = lane % 8; // 128 bytes of a row, of four rows at a time
            int left = span.k + 32 * chunk < p.depth ? p.cols - span.first - line : 0;
            const u8 *from = (const u8 *)p.b + ((i64)(span.first + line) * p.depth + span.k) / 2 + 16 * chunk;
            u32 to = stage + line * ROW_BYTES + (chunk ^ 2 * line) * 16;
#pragma unroll
            for (int row = 0; row < OUTPUTS; row += 4) {
                copy16_async(to + row * ROW_BYTES, row < left ? from + (i64)(row / 2) * p.depth : p.b, row < left);
            }
            Scales scales = {p.scale_codes, p.scales, p.map, p.offset};
            int blocks = p.depth / 64, row = span.first + lane / 4;
            u32 block = min(span.k / 64 + lane % 4, blocks - 1); // of what is there
            upper = fetch_scale(scales, (u32)min(row, p.cols - 1) * blocks + block);
            lower = fetch_scale(scales, (u32)min(row + 8, p.cols - 1) * blocks + block);
        }
        end_of_copies();
    }
};

/// Adds a span's products to this warp's sums: four blocks of 64, each lane 16 codes of both its rows in each.
template <class X>
__device__ __forceinline__ void add_span(const Product &p, int k, const Pending &pending, const char *stage, const char *table,
                                         float sums[4]) {
    int lane = threadIdx.x % 32, group = lane / 4, within = lane % 4;
    const X *row = (const X *)p.a + (i64)min(group, p.rows - 1) * p.depth; // a row too many is not put anywhere
    uint4 x[SPAN / 64][2];
#pragma unroll
    for (int i = 0; i < SPAN / 64; i++) {
        const X *from = row + min(k + 64 * i, p.depth - 64) + 16 * within;
        x[i][0] = rounded8(from), x[i][1] = rounded8(from + 8);
    }
    wait_for_copies<1>();
    __syncwarp(); // for those of other lanes
    Scales scales = {p.scale_codes, p.scales, p.map, p.offset};
    bool there = k + 64 * within < p.depth; // the last span of a row may be shorter: zeros, then, times what was there instead
    float upper = there ? scale_of(scales, pending.upper) : 0, lower = there ? scale_of(scales, pending.lower) : 0;
#pragma unroll
    for (int i = 0; i < SPAN / 64; i++) {
        const char *from = stage + group * ROW_BYTES + ((2 * i + within / 2) ^ group % 4 * 2) * 16 + within % 2 * 8;
        uint2 w = *(const uint2 *)from, w8 = *(const uint2 *)(from + 8 * ROW_BYTES);
        const u32 xs[8] = {x[i][0].x, x[i][0].y, x[i][0].z, x[i][0].w, x[i][1].x, x[i][1].y, x[i][1].z, x[i][1].w};
        float block[4] = {0, 0, 0, 0};
#pragma unroll
        for (int pair = 0; pair < 8; pair += 2) {
            u32 codes = pair < 4 ? w.x : w.y, codes8 = pair < 4 ? w8.x : w8.y;
            const u32 a[4] = {look_up(table, codes, pair % 4), look_up(table, codes8, pair % 4),
                              look_up(table, codes, pair % 4 + 1), look_up(table, codes8, pair % 4 + 1)};
            mma_m16n8k16(block, a, xs + pair);
        }
        float scale = __shfl_sync(FULL_WARP, upper, group * 4 + i), scale8 = __shfl_sync(FULL_WARP, lower, group * 4 + i);
        sums[0] += block[0] * scale, sums[1] += block[1] * scale;
        sums[2] += block[2] * scale8, sums[3] += block[3] * scale8;
    }
    __syncwarp(); // all have read the stage
}

/// Adds up the warps' sums and the second term, a thread an element of C.
__device__ __forceinline__ void put_sums(const Product &p, int first, const float sums[4]) {
    __shared__ float parts[WARPS][OUTPUTS][MOST_ROWS];
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    __syncthreads(); // the sums before are put
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

// Of B in NF4; K a multiple of 64.  grid: at most three blocks a multiprocessor; 64 KiB of shared memory
template <class X> __device__ void few_rows_nf4(Product p) {
    DYNAMIC_SHARED(char, table);
    int warp = threadIdx.x / 32;
    const char *stages = table + warp * 2 * STAGE_BYTES + ROW_BYTES / 2;
    u32 stage = 0; // of two
    Span ahead(warp);
    Pending now, later;
    now.begin(p, ahead, shared_address(stages));
    ahead.next(p, warp);
    later.begin(p, ahead, shared_address(stages) + STAGE_BYTES);
    fill(table); // while the first codes come
    __syncthreads();
    for (int first = blockIdx.x * OUTPUTS; first < p.cols; first += gridDim.x * OUTPUTS) {
        float sums[4] = {0, 0, 0, 0};
        for (int k = SPAN * warp; k < p.depth; k += SPAN * WARPS) {
            add_span<X>(p, k, now, stages + stage, table, sums);
            ahead.next(p, warp);
            now = later;
            later.begin(p, ahead, shared_address(stages) + stage);
            stage ^= STAGE_BYTES;
        }
        put_sums(p, first, sums);
    }
}
ACTIVATION_KERNEL(few_rows_nf4, WARPS * 32, (Product p), (p))

// Of B in bfloat16 or float32; K a multiple of 8.  grid: ceil(N / 16)
template <class W> __device__ void few_rows(Product p) {
    float sums[4] = {0, 0, 0, 0};
    dense_sums<W>(p, blockIdx.x * OUTPUTS, sums);
    put_sums(p, blockIdx.x * OUTPUTS, sums);
}
ACTIVATION_KERNEL(few_rows, WARPS * 32, (Product p), (p))
