// Attention forward, and of one query when generating: see attention.cuh.
#include "attention.cuh"

/// One step of the softmax of two rows: s becomes exp(s·scale − largest so far), base 2; what came before counts `keep` times.
template <int TILE>
__device__ __forceinline__ void softmax(float s[TILE / 8][4], float scale, float largest[2], float total[2], float keep[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float most = largest[r], sum = 0;
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
            most = fmaxf(most, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
        }
        most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, 1)); // a row is spread over four lanes
        most = fmaxf(most, __shfl_xor_sync(FULL_WARP, most, 2));
        float shift = most == -INFINITE ? 0 : most, base = shift * scale; // nothing seen yet
        keep[r] = power_of_two((largest[r] - shift) * scale); // 1 exactly where the largest stays
#pragma unroll
        for (int n = 0; n < TILE / 8; n++) {
#pragma unroll
            for (int i = 2 * r; i < 2 * r + 2; i++) {
                s[n][i] = power_of_two(s[n][i] * scale - base);
                sum += s[n][i];
            }
        }
        largest[r] = most;
        total[r] = total[r] * keep[r] + sum;
    }
}

// y and L of 16 · WARPS queries of a head. The values of a tile are multiplied together with the next one's keys, so that
// wgmma has work during the softmax.  grid: (H, ceil(T / (16 · WARPS)))
template <int WIDTH, int WARPS, int TILE, bool GROUPS> __device__ __forceinline__ void attention_forward(const AttentionCall &p) {
    const int OWN = 16 * WARPS, THREADS = 32 * WARPS, BYTES = bytes_of_tile(TILE, WIDTH), OWN_BYTES = bytes_of_tile(OWN, WIDTH);
    DYNAMIC_SHARED(char, memory);
    u32 tile_q = shared_address(memory), tiles_k = tile_q + OWN_BYTES, tiles_v = tiles_k + 2 * BYTES;
    int h = blockIdx.x, g = h / (p.heads / p.kv_heads), first = (gridDim.y - 1 - blockIdx.y) * OWN;
    load_tile<OWN, WIDTH, THREADS>(tile_q, p.q, p.heads, h, p, first, p.queries);
    int begin = document_start(p.offsets, p.documents, first), end = p.past + min(first + OWN, p.queries);
    int tiles = (end - begin + TILE - 1) / TILE;
    load_tile<TILE, WIDTH, THREADS>(tiles_k, p.k, p.kv_heads, g, p, begin, p.keys);
    end_of_copies();
    Sight sight;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int t = min(first + row() + 8 * r, p.queries - 1);
        sight.first[r] = document_start(p.offsets, p.documents, t);
        sight.last[r] = p.past + t;
    }
    const float scale = p.scale * LOG2_E;
    float largest[2] = {-INFINITE, -INFINITE}, total[2] = {0, 0}, keep[2], s[TILE / 8][4], sums[WIDTH / 8][4] = {};
    u32 w[TILE / 16][4];
    tiles_there<GROUPS>();
    times_rows<OWN, TILE, WIDTH, GROUPS>(s, tile_q, tiles_k);
    load_tile<TILE, WIDTH, THREADS>(tiles_v, p.v, p.kv_heads, g, p, begin, p.keys);
    load_tile<TILE, WIDTH, THREADS>(tiles_k + BYTES, p.k, p.kv_heads, g, p, begin + TILE, p.keys);
    end_of_copies();
    finish<0, TILE / 8, GROUPS>(s);
    mask<TILE>(s, sight, begin);
    softmax<TILE>(s, scale, largest, total, keep);
    rounded<TILE>(w, s);
    for (int j = 1; j < tiles; j++) {
        int from = begin + j * TILE, buffer = j % 2 * BYTES, other = BYTES - buffer;
        tiles_there<GROUPS>();
        times_rows<OWN, TILE, WIDTH, GROUPS>(s, tile_q, tiles_k + buffer);
        add_weighted<TILE, WIDTH, GROUPS>(sums, w, tiles_v + other);
        load_tile<TILE, WIDTH, THREADS>(tiles_v + buffer, p.v, p.kv_heads, g, p, from, p.keys);
        if (j + 1 < tiles) {
            load_tile<TILE, WIDTH, THREADS>(tiles_k + other, p.k, p.kv_heads, g, p, from + TILE, p.keys);
        }
        end_of_copies();
        finish<1, TILE / 8, GROUPS>(s);
        mask<TILE>(s, sight, from);
        if (IN_A_BLOCK_OF_ITS_OWN(p)) {
            softmax<TILE>(s, scale, largest, total, keep);
        }
        finish<0, WIDTH / 8, TILE, GROUPS>(sums, w);
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sums[n][i] *= keep[i / 2];
            }
        }
        rounded<TILE>(w, s);
    }
    tiles_there<GROUPS>();
    add_weighted<TILE, WIDTH, GROUPS>(sums, w, tiles_v + (tiles - 1) % 2 * BYTES);
    finish<0, WIDTH / 8, GROUPS>(sums);
    float share[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        total[r] += __shfl_xor_sync(FULL_WARP, total[r], 1);
        total[r] += __shfl_xor_sync(FULL_WARP, total[r], 2);
        share[r] = 1 / total[r];
        int t = first + row() + 8 * r;
        if (p.log_sum_exp && within() == 0 && t < p.queries) {
            p.log_sum_exp[(i64)h * p.queries + t] = largest[r] * p.scale + logf(total[r]);
        }
    }
    store_rows<WIDTH>(sums, p.y, 0, p.heads, h, p, first, p.queries, 0, share);
}

// WIDTH, warps, rows of a tile, and whether wgmma multiplies: CudaAttention has the same table. With mma.sync a block has less
// than 99 KiB of shared memory, as much as cards for desktops have.
ATTENTION(attention_forward_32, 128, attention_forward<32, 4, 32, false>)
ATTENTION(attention_forward_64, 256, attention_forward<64, 8, 64, false>)
ATTENTION(attention_forward_128, 256, attention_forward<128, 8, 64, false>)
ATTENTION(attention_forward_256, 128, attention_forward<256, 4, 32, false>)

#ifdef WARPGROUPS
ATTENTION(attention_forward_64_groups, 256, attention_forward<64, 8, 128, true>)
ATTENTION(attention_forward_128_groups, 256, attention_forward<128, 8, 128, true>)
#endif

// ---- generation ----------------------------------------------------------------------------------------------------------

/// A softmax on its way: of some keys, eight elements of their values.
struct Running {
    float largest, total, sums[8];
};

/// Takes in more: weights whose largest exponent is this, their total, and their sum of values.
__device__ __forceinline__ void join(Running &to, float largest, float total, const float values[8]) {
    float next = fmaxf(to.largest, largest), base = next == -INFINITE ? 0 : next; // neither has seen anything
    float keep = expf(to.largest - base), weight = expf(largest - base);
    to.largest = next;
    to.total = to.total * keep + total * weight;
    for (int i = 0; i < 8; i++) {
        to.sums[i] = to.sums[i] * keep + values[i] * weight;
    }
}

/// Eight neighbours as they lie in memory.
template <class T> struct Eight {
    uint4 parts[sizeof(T) / 2];
};

template <class T> __device__ __forceinline__ Eight<T> eight(const T *p) {
    Eight<T> all;
    for (int i = 0; i < (int)sizeof(T) / 2; i++) {
        all.parts[i] = ((const uint4 *)p)[i];
    }
    return all;
}

/// What the warps of a block tell each other.
struct Parts {
    float largests[8], totals[8], sums[8][256];
};

// One query against all keys so far, as when generating: bound by the reading of keys and values. Each of 8 warps takes every
// eighth, or as many at once as it has lanes for, eight elements a lane; what they have is joined at the end. Nothing is rounded
// to 16 bits. Where elements come in aligned eights, some keys are on their way before any is looked at.  grid: (H, T)
template <class T, bool WHOLE> __device__ __forceinline__ void attention_cached(const AttentionCall &p, Parts &parts) {
    const int AHEAD = WHOLE ? 4 : 1;
    int h = blockIdx.x, t = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32, lanes = 1, last = p.past + t;
    while (8 * lanes < p.size) {
        lanes *= 2; // of a key
    }
    int at_once = 32 / lanes, mine = lane / lanes, d = 8 * (lane % lanes);
    bool inside = d < p.size;
    i64 query = ((i64)t * p.heads + h) * p.size, stride = (i64)p.kv_heads * p.size;
    i64 offset = (i64)(h / (p.heads / p.kv_heads)) * p.size;
    const T *keys = (const T *)p.k + offset, *values = (const T *)p.v + offset;
    float q[8];
    load8((const T *)p.q, query + d, query + p.size, q);
    Running all = {-INFINITE, 0, {}};
    for (int first = warp * at_once + mine; first - mine <= last; first += AHEAD * 8 * at_once) {
        Eight<T> k_there[AHEAD], v_there[AHEAD];
        if (WHOLE) {
#pragma unroll
            for (int a = 0; a < AHEAD; a++) {
                int key = first + a * 8 * at_once;
                i64 from = (key <= last ? key : 0) * stride + (inside ? d : 0); // there in any case
                k_there[a] = eight(keys + from);
                v_there[a] = eight(values + from);
            }
        }
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            int key = first + a * 8 * at_once;
            bool seen = key <= last;
            float k[8], v[8], score = 0;
            if (WHOLE) {
                load8((const T *)&k_there[a], k);
                load8((const T *)&v_there[a], v);
            } else {
                i64 from = seen ? key * stride : 0, end = seen ? from + p.size : 0;
                load8(keys, from + d, end, k);
                load8(values, from + d, end, v);
            }
            for (int i = 0; i < 8; i++) {
                score += q[i] * k[i];
            }
            score = inside ? score : 0;
            for (int step = lanes / 2; step > 0; step /= 2) {
                score += __shfl_xor_sync(FULL_WARP, score, step);
            }
            join(all, seen ? score * p.scale : -INFINITE, 1, v);
        }
    }
    for (int step = lanes; step < 32; step *= 2) {
        float largest = __shfl_xor_sync(FULL_WARP, all.largest, step), total = __shfl_xor_sync(FULL_WARP, all.total, step), sums[8];
        for (int i = 0; i < 8; i++) {
            sums[i] = __shfl_xor_sync(FULL_WARP, all.sums[i], step);
        }
        join(all, largest, total, sums);
    }
    if (mine == 0) {
        parts.largests[warp] = all.largest;
        parts.totals[warp] = all.total;
        for (int i = 0; i < 8; i++) {
            parts.sums[warp][d + i] = all.sums[i];
        }
    }
    __syncthreads();
    if ((int)threadIdx.x < lanes) {
        all = {-INFINITE, 0, {}};
        for (int w = 0; w < 8; w++) {
            join(all, parts.largests[w], parts.totals[w], parts.sums[w] + d);
        }
        for (int i = 0; i < 8; i++) {
            all.sums[i] /= all.total;
        }
        store8((T *)p.y, query + d, query + p.size, all.sums);
    }
}

__device__ __forceinline__ void attention_cached_of_any(const AttentionCall &p) {
    __shared__ Parts parts;
    bool whole = p.size % 8 == 0 && aligned(p.k) && aligned(p.v);
    if (p.type == F32) {
        whole ? attention_cached<float, true>(p, parts) : attention_cached<float, false>(p, parts);
    } else {
        whole ? attention_cached<bf16, true>(p, parts) : attention_cached<bf16, false>(p, parts);
    }
}

ATTENTION(attention_of_one, 256, attention_cached_of_any)
