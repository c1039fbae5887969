// Attention backward: see attention.cuh.
#include "attention.cuh"

// Δ[h,t] = dy[t,h]·y[t,h], a warp each; of rounded elements, as dy·v is, from which it is taken away.  grid: (ceil(T / 8), H)
__device__ __forceinline__ void attention_delta(const AttentionCall &p) {
    int t = blockIdx.x * 8 + threadIdx.x / 32, h = blockIdx.y;
    if (t >= p.queries) {
        return;
    }
    i64 from = ((i64)t * p.heads + h) * p.size;
    float sum = 0;
    for (int d = 8 * (threadIdx.x % 32); d < p.size; d += 8 * 32) {
        float dy[8], y[8];
        load8(p.dy, p.type, from + d, from + p.size, dy);
        load8(p.y, p.type, from + d, from + p.size, y);
        for (int k = 0; k < 8; k++) {
            u32 pair = bf16_pair(dy[k], y[k]);
            sum += low(pair) * high(pair);
        }
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) {
        p.delta[(i64)h * p.queries + t] = sum;
    }
}

// dq of 16 · WARPS queries of a head. With wgmma the last product of a tile is made together with the first two of the next
// one, so that the tensor cores have work until ds is there: a third tile of keys is kept for that. The first time it is of
// nothing.  grid: (H, ceil(T / (16 · WARPS)))
template <int WIDTH, int WARPS, int TILE, bool GROUPS>
__device__ __forceinline__ void attention_backward_q(const AttentionCall &p) {
    const int OWN = 16 * WARPS, THREADS = 32 * WARPS, BYTES = bytes_of_tile(TILE, WIDTH), OWN_BYTES = bytes_of_tile(OWN, WIDTH);
    const int KEYS = GROUPS ? 3 : 2;
    DYNAMIC_SHARED(char, memory);
    u32 tile_q = shared_address(memory), tile_dy = tile_q + OWN_BYTES;
    u32 tiles_v = tile_dy + OWN_BYTES, tiles_k = tiles_v + 2 * BYTES, end_of_k = tiles_k + KEYS * BYTES;
    int h = blockIdx.x, g = h / (p.heads / p.kv_heads), first = (gridDim.y - 1 - blockIdx.y) * OWN;
    load_tile<OWN, WIDTH, THREADS>(tile_q, p.q, p.heads, h, p, first, p.queries);
    load_tile<OWN, WIDTH, THREADS>(tile_dy, p.dy, p.heads, h, p, first, p.queries);
    int begin = document_start(p.offsets, p.documents, first), end = min(first + OWN, p.queries);
    load_tile<TILE, WIDTH, THREADS>(tiles_k, p.k, p.kv_heads, g, p, begin, p.keys);
    load_tile<TILE, WIDTH, THREADS>(tiles_v, p.v, p.kv_heads, g, p, begin, p.keys);
    end_of_copies();
    Sight sight;
    float base[2], delta[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int t = min(first + row() + 8 * r, p.queries - 1);
        sight.first[r] = document_start(p.offsets, p.documents, t);
        sight.last[r] = t;
        base[r] = p.log_sum_exp[(i64)h * p.queries + t] * LOG2_E;
        delta[r] = p.delta[(i64)h * p.queries + t];
    }
    const float scale = p.scale * LOG2_E;
    float sums[WIDTH / 8][4] = {};
    u32 w[TILE / 16][4] = {}, before = tiles_k, now = tiles_k;
    for (int from = begin, buffer = 0; from < end; from += TILE, buffer = BYTES - buffer) {
        float s[TILE / 8][4], ds[TILE / 8][4];
        u32 next = now + BYTES < end_of_k ? now + BYTES : tiles_k;
        tiles_there<GROUPS>();
        times_rows<OWN, TILE, WIDTH, GROUPS>(s, tile_q, now);
        times_rows<OWN, TILE, WIDTH, GROUPS>(ds, tile_dy, tiles_v + buffer);
        if (GROUPS) {
            add_weighted<TILE, WIDTH, GROUPS>(sums, w, before);
        }
        if (from + TILE < end) {
            load_tile<TILE, WIDTH, THREADS>(next, p.k, p.kv_heads, g, p, from + TILE, p.keys);
            load_tile<TILE, WIDTH, THREADS>(tiles_v + BYTES - buffer, p.v, p.kv_heads, g, p, from + TILE, p.keys);
        }
        end_of_copies();
        finish<2, TILE / 8, GROUPS>(s);
        mask<TILE>(s, sight, from);
        if (IN_A_BLOCK_OF_ITS_OWN(p)) {
#pragma unroll
            for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    s[n][i] = power_of_two(s[n][i] * scale - base[i / 2]);
                }
            }
        }
        finish<1, TILE / 8, GROUPS>(ds);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                ds[n][i] = s[n][i] * (ds[n][i] - delta[i / 2]);
            }
        }
        finish<0, WIDTH / 8, TILE, GROUPS>(sums, w);
        rounded<TILE>(w, ds);
        if (!GROUPS) {
            add_weighted<TILE, WIDTH, GROUPS>(sums, w, now);
        }
        before = now, now = next;
    }
    if (GROUPS) {
        add_weighted<TILE, WIDTH, GROUPS>(sums, w, before);
        finish<0, WIDTH / 8, GROUPS>(sums);
    }
    const float factor[2] = {p.scale, p.scale};
    store_rows<WIDTH>(sums, p.dq, p.accumulate_q, p.heads, h, p, first, p.queries, 0, factor);
}

/// The queries that a block of keys has yet to see: of one head after the other.
struct Walk {
    int h, from;
};

// COLUMNS columns of dk and dv of 16 · WARPS keys of a key/value head: the transposed products, keys as rows. With wgmma dv's
// product is still under way when the next tile's begin, and dk's is made together with those, as dq's is above: three tiles of
// queries are kept.  grid: (K, ceil(T / (16 · WARPS)), WIDTH / COLUMNS)
template <int WIDTH, int COLUMNS, int WARPS, int TILE, bool GROUPS>
__device__ __forceinline__ void attention_backward_kv(const AttentionCall &p) {
    const int OWN = 16 * WARPS, THREADS = 32 * WARPS, BYTES = bytes_of_tile(TILE, WIDTH), OWN_BYTES = bytes_of_tile(OWN, WIDTH);
    const int TILES = GROUPS ? 3 : 2, PAIR = 2 * BYTES; // of q and dy
    DYNAMIC_SHARED(char, memory);
    u32 tile_k = shared_address(memory), tile_v = tile_k + OWN_BYTES, pairs = tile_v + OWN_BYTES;
    float *rows_of_tiles = (float *)(memory + 2 * OWN_BYTES + TILES * PAIR); // twice TILE of L and as many of Δ
    int g = blockIdx.x, first = blockIdx.y * OWN, part = blockIdx.z * (COLUMNS / 64) * (TILE * 128);
    load_tile<OWN, WIDTH, THREADS>(tile_k, p.k, p.kv_heads, g, p, first, p.keys);
    load_tile<OWN, WIDTH, THREADS>(tile_v, p.v, p.kv_heads, g, p, first, p.keys);
    int end = document_end(p.offsets, p.documents + 1, min(first + OWN, p.keys) - 1, p.queries);
    int per_group = p.heads / p.kv_heads;
    auto load = [&](const Walk &at, u32 pair, int buffer) {
        load_tile<TILE, WIDTH, THREADS>(pair, p.q, p.heads, at.h, p, at.from, p.queries);
        load_tile<TILE, WIDTH, THREADS>(pair + BYTES, p.dy, p.heads, at.h, p, at.from, p.queries);
        if (threadIdx.x < TILE) {
            bool there = at.from + (int)threadIdx.x < p.queries;
            i64 i = there ? (i64)at.h * p.queries + at.from + threadIdx.x : 0;
            u32 to = shared_address(rows_of_tiles + buffer * 2 * TILE + threadIdx.x);
            copy4_async(to, p.log_sum_exp + i, there);
            copy4_async(to + TILE * 4, p.delta + i, there);
        }
    };
    Walk at = {g * per_group, first};
    load(at, pairs, 0);
    end_of_copies();
    Sight sight;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sight.first[r] = first + row() + 8 * r;
        sight.last[r] = document_end(p.offsets, p.documents + 1, min(sight.first[r], p.keys - 1), p.queries) - 1;
    }
    const float scale = p.scale * LOG2_E;
    float dk[COLUMNS / 8][4] = {}, dv[COLUMNS / 8][4] = {};
    u32 w[TILE / 16][4] = {}, dw[TILE / 16][4] = {}, before = pairs, now = pairs;
    for (int buffer = 0; at.h < (g + 1) * per_group; buffer = 1 - buffer) {
        float s[TILE / 8][4], ds[TILE / 8][4];
        u32 next = now + PAIR < pairs + TILES * PAIR ? now + PAIR : pairs;
        tiles_there<GROUPS>();
        times_rows<OWN, TILE, WIDTH, GROUPS>(s, tile_k, now);
        times_rows<OWN, TILE, WIDTH, GROUPS>(ds, tile_v, now + BYTES);
        if (GROUPS) {
            add_weighted<TILE, COLUMNS, GROUPS>(dk, dw, before + part);
        }
        int from = at.from;
        at.from += TILE;
        if (at.from >= end) {
            at = {at.h + 1, first};
        }
        if (at.h < (g + 1) * per_group) {
            load(at, next, 1 - buffer);
        }
        end_of_copies();
        finish<2, TILE / 8, TILE, GROUPS>(s, w); // and dv's of the tile before
        mask<TILE>(s, sight, from);
        const float2 *bases = (const float2 *)(rows_of_tiles + buffer * 2 * TILE) + within(), *deltas = bases + TILE / 2;
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
            float2 base = bases[4 * n];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s[n][i] = power_of_two(s[n][i] * scale - (i % 2 ? base.y : base.x) * LOG2_E);
            }
        }
        rounded<TILE>(w, s);
        add_weighted<TILE, COLUMNS, GROUPS>(dv, w, now + BYTES + part);
        finish<2, TILE / 8, GROUPS>(ds);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
            float2 delta = deltas[4 * n];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                ds[n][i] = s[n][i] * (ds[n][i] - (i % 2 ? delta.y : delta.x));
            }
        }
        finish<1, COLUMNS / 8, TILE, GROUPS>(dk, dw);
        rounded<TILE>(dw, ds);
        if (!GROUPS) {
            add_weighted<TILE, COLUMNS, GROUPS>(dk, dw, now + part);
        }
        before = now, now = next;
    }
    if (GROUPS) {
        add_weighted<TILE, COLUMNS, GROUPS>(dk, dw, before + part);
    }
    finish<0, COLUMNS / 8, GROUPS>(dv);
    finish<0, COLUMNS / 8, GROUPS>(dk);
    const float one[2] = {1, 1}, factor[2] = {p.scale, p.scale};
    if (p.dk) {
        store_rows<COLUMNS>(dk, p.dk, p.accumulate_k, p.kv_heads, g, p, first, p.keys, blockIdx.z * COLUMNS, factor);
    }
    if (p.dv) {
        store_rows<COLUMNS>(dv, p.dv, p.accumulate_v, p.kv_heads, g, p, first, p.keys, blockIdx.z * COLUMNS, one);
    }
}

ATTENTION(attention_deltas, 256, attention_delta)

// WIDTH, columns at once if not all, warps, rows of a tile, and whether wgmma multiplies: CudaAttention has the same table.
ATTENTION(attention_backward_q_32, 128, attention_backward_q<32, 4, 32, false>)
ATTENTION(attention_backward_q_64, 256, attention_backward_q<64, 8, 64, false>)
ATTENTION(attention_backward_q_128, 256, attention_backward_q<128, 8, 32, false>)
ATTENTION(attention_backward_q_256, 128, attention_backward_q<256, 4, 16, false>)
ATTENTION(attention_backward_kv_32, 128, attention_backward_kv<32, 32, 4, 32, false>)
ATTENTION(attention_backward_kv_64, 256, attention_backward_kv<64, 64, 8, 64, false>)
ATTENTION(attention_backward_kv_128, 256, attention_backward_kv<128, 128, 8, 32, false>)
ATTENTION(attention_backward_kv_256, 128, attention_backward_kv<256, 128, 4, 16, false>)

#ifdef WARPGROUPS
ATTENTION(attention_backward_q_64_groups, 256, attention_backward_q<64, 8, 64, true>)
ATTENTION(attention_backward_q_128_groups, 256, attention_backward_q<128, 8, 64, true>)
ATTENTION(attention_backward_kv_64_groups, 256, attention_backward_kv<64, 64, 8, 64, true>)
ATTENTION(attention_backward_kv_128_groups, 256, attention_backward_kv<128, 128, 8, 64, true>)
#endif
