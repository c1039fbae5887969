// Attention on tensor cores, grouped-query, causal within a document: io.qlora.engine.ops.Attention, whose names are used
// here. As in FlashAttention-2 (Dao 2023), nothing of size T × T is in memory, and as there each kernel keeps 64 rows of its
// own and walks over the others in tiles: the forward kernel and that of dq own queries, that of dk and dv owns keys. Nothing
// is added to from two blocks, so the order of every sum is fixed.
//
// Heads are padded with zeros to WIDTH, 32, 64 or 128. All products are of bfloat16, summed in float32.

#define OWN 64    // rows of a block, 16 a warp
#define OTHERS 32 // rows of a tile of the others

/// Where a head's rows lie in a matrix of all heads: element (row, d) at row · stride + offset + d.
struct Heads {
    const void *data;
    int type, stride, offset, rows, size;
};

__device__ __forceinline__ Heads head(const void *data, int type, int heads, int h, int rows, int size) {
    return {data, type, heads * size, h * size, rows, size};
}

/// Rows [first, first + ROWS) in shared memory, rounded to bfloat16; zeros outside.
template <int ROWS, int WIDTH>
__device__ __forceinline__ void load_tile(u16 (*tile)[WIDTH + 8], const Heads &m, int first) {
    for (int i = threadIdx.x; i < ROWS * WIDTH / 8; i += blockDim.x) {
        int row = i / (WIDTH / 8), d = i % (WIDTH / 8) * 8;
        float v[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        if (first + row < m.rows && d < m.size) {
            i64 from = (i64)(first + row) * m.stride + m.offset;
            if (m.type == F32) {
                load8((const float *)m.data + from, d, m.size, v);
            } else {
                load8((const bf16 *)m.data + from, d, m.size, v);
            }
        }
        *(uint4 *)&tile[row][d] =
            make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
    }
}

/// A fragment of mma's left operand: 16 rows from `row` on, 16 columns from `k` on.
template <int WIDTH> __device__ __forceinline__ void left(u32 a[4], const u16 (*tile)[WIDTH + 8], int row, int k) {
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    const u16 *upper = &tile[row + group][k + 2 * within], *lower = &tile[row + group + 8][k + 2 * within];
    a[0] = *(const u32 *)upper, a[1] = *(const u32 *)lower;
    a[2] = *(const u32 *)(upper + 8), a[3] = *(const u32 *)(lower + 8);
}

/// sums[n] += own rows [row, row + 16) · (others' rows)ᵀ, over WIDTH: scores of 16 × ROWS.
template <int ROWS, int WIDTH>
__device__ __forceinline__ void times_rows(float sums[ROWS / 8][4], const u16 (*own)[WIDTH + 8], int row,
                                           const u16 (*others)[WIDTH + 8]) {
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < WIDTH; k += 16) {
        u32 a[4];
        left<WIDTH>(a, own, row, k);
#pragma unroll
        for (int n = 0; n < ROWS / 8; n++) {
            const u16 *right = &others[8 * n + group][k + 2 * within];
            u32 b[2] = {*(const u32 *)right, *(const u32 *)(right + 8)};
            mma_m16n8k16(sums[n], a, b);
        }
    }
}

/// sums[n] += p · others, for p of 16 × ROWS as `times_rows` leaves it: a result of 16 × WIDTH.
template <int ROWS, int WIDTH>
__device__ __forceinline__ void weighted_rows(float sums[WIDTH / 8][4], const float p[ROWS / 8][4], const u16 (*others)[WIDTH + 8]) {
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < ROWS; k += 16) {
        const float *first = p[k / 8], *second = p[k / 8 + 1];
        u32 a[4] = {bf16_pair(first[0], first[1]), bf16_pair(first[2], first[3]), bf16_pair(second[0], second[1]),
                    bf16_pair(second[2], second[3])};
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++) {
            const u16 *right = &others[k + 2 * within][8 * n + group];
            const int row = WIDTH + 8;
            u32 b[2] = {right[0] | (u32)right[row] << 16, right[8 * row] | (u32)right[9 * row] << 16};
            mma_m16n8k16(sums[n], a, b);
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

/// Stores rows of 16 × WIDTH sums of a warp, or adds them.
template <int WIDTH>
__device__ __forceinline__ void store_rows(const float sums[WIDTH / 8][4], void *to, int type, int accumulate, i64 stride,
                                           int offset, int first, int rows, int size, const float factor[2]) {
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < WIDTH / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = first + group + i / 2 * 8, d = 8 * n + 2 * within + i % 2;
            if (row < rows && d < size) {
                i64 at = row * stride + offset + d;
                float x = sums[n][i] * factor[i / 2];
                if (type == F32) {
                    put((float *)to + at, x, accumulate);
                } else {
                    put((bf16 *)to + at, x, accumulate);
                }
            }
        }
    }
}

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

// y and L of 64 queries of a head.  grid: (ceil(T / 64), H)
template <int WIDTH> __device__ __forceinline__ void attention_forward(const AttentionCall &p) {
    typedef u16 Row[WIDTH + 8];
    DYNAMIC_SHARED(Row, tile_q); // OWN rows, then the keys' and the values'
    Row *tile_k = tile_q + OWN, *tile_v = tile_k + OTHERS;
    int h = blockIdx.y, g = h / (p.heads / p.kv_heads), first = blockIdx.x * OWN, own = threadIdx.x / 32 * 16;
    Heads k = head(p.k, p.type, p.kv_heads, g, p.keys, p.size), v = head(p.v, p.type, p.kv_heads, g, p.keys, p.size);
    load_tile<OWN, WIDTH>(tile_q, head(p.q, p.type, p.heads, h, p.queries, p.size), first);
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    int position[2], start[2]; // of this thread's two rows
    for (int r = 0; r < 2; r++) {
        int t = min(first + own + group + 8 * r, p.queries - 1);
        position[r] = p.past + t;
        start[r] = document_start(p.offsets, p.documents, t);
    }
    float largest[2] = {-INFINITE, -INFINITE}, total[2] = {0, 0}, sums[WIDTH / 8][4] = {};
    int end = min(p.keys, p.past + min(first + OWN, p.queries));
    for (int from = document_start(p.offsets, p.documents, first); from < end; from += OTHERS) {
        __syncthreads();
        load_tile<OTHERS, WIDTH>(tile_k, k, from);
        load_tile<OTHERS, WIDTH>(tile_v, v, from);
        __syncthreads();
        float s[OTHERS / 8][4] = {};
        times_rows<OTHERS, WIDTH>(s, tile_q, own, tile_k);
        float before[2] = {largest[0], largest[1]};
#pragma unroll
        for (int n = 0; n < OTHERS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int r = i / 2, u = from + 8 * n + 2 * within + i % 2;
                s[n][i] = u >= start[r] && u <= position[r] ? s[n][i] * p.scale : -INFINITE;
                largest[r] = fmaxf(largest[r], s[n][i]);
            }
        }
        float keep[2], base[2];
#pragma unroll
        for (int r = 0; r < 2; r++) { // a row is spread over four lanes
            largest[r] = fmaxf(largest[r], __shfl_xor_sync(FULL_WARP, largest[r], 1));
            largest[r] = fmaxf(largest[r], __shfl_xor_sync(FULL_WARP, largest[r], 2));
            base[r] = largest[r] == -INFINITE ? 0 : largest[r]; // nothing seen yet
            keep[r] = expf(before[r] - base[r]);
            total[r] *= keep[r];
        }
#pragma unroll
        for (int n = 0; n < OTHERS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s[n][i] = expf(s[n][i] - base[i / 2]);
                total[i / 2] += s[n][i];
            }
        }
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sums[n][i] *= keep[i / 2];
            }
        }
        weighted_rows<OTHERS, WIDTH>(sums, s, tile_v);
    }
    float share[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        total[r] += __shfl_xor_sync(FULL_WARP, total[r], 1);
        total[r] += __shfl_xor_sync(FULL_WARP, total[r], 2);
        share[r] = 1 / total[r];
        int t = first + own + group + 8 * r;
        if (p.log_sum_exp && within == 0 && t < p.queries) {
            p.log_sum_exp[(i64)h * p.queries + t] = largest[r] + logf(total[r]);
        }
    }
    store_rows<WIDTH>(sums, p.y, p.type, 0, (i64)p.heads * p.size, h * p.size, first + own, p.queries, p.size, share);
}

// Δ[h,t] = dy[t,h]·y[t,h], a warp each; of rounded elements, as dy·v is, from which it is taken away.  grid: (ceil(T / 8), H)
__device__ __forceinline__ void attention_delta(const AttentionCall &p) {
    int t = blockIdx.x * 8 + threadIdx.x / 32, h = blockIdx.y;
    if (t >= p.queries) {
        return;
    }
    i64 from = ((i64)t * p.heads + h) * p.size;
    float sum = 0;
    for (int d = threadIdx.x % 32; d < p.size; d += 32) {
        u32 pair = bf16_pair(load(p.dy, p.type, from + d), load(p.y, p.type, from + d));
        sum += low(pair) * high(pair);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) {
        p.delta[(i64)h * p.queries + t] = sum;
    }
}

// dq of 64 queries of a head.  grid: (ceil(T / 64), H)
template <int WIDTH> __device__ __forceinline__ void attention_backward_q(const AttentionCall &p) {
    typedef u16 Row[WIDTH + 8];
    DYNAMIC_SHARED(Row, tile_q); // then the outputs' gradients, the keys and the values
    Row *tile_dy = tile_q + OWN, *tile_k = tile_dy + OWN, *tile_v = tile_k + OTHERS;
    int h = blockIdx.y, g = h / (p.heads / p.kv_heads), first = blockIdx.x * OWN, own = threadIdx.x / 32 * 16;
    load_tile<OWN, WIDTH>(tile_q, head(p.q, p.type, p.heads, h, p.queries, p.size), first);
    load_tile<OWN, WIDTH>(tile_dy, head(p.dy, p.type, p.heads, h, p.queries, p.size), first);
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    int position[2], start[2];
    float log_sum_exp[2], delta[2];
    for (int r = 0; r < 2; r++) {
        int t = min(first + own + group + 8 * r, p.queries - 1);
        position[r] = t;
        start[r] = document_start(p.offsets, p.documents, t);
        log_sum_exp[r] = p.log_sum_exp[(i64)h * p.queries + t];
        delta[r] = p.delta[(i64)h * p.queries + t];
    }
    float sums[WIDTH / 8][4] = {};
    int end = min(first + OWN, p.queries);
    for (int from = document_start(p.offsets, p.documents, first); from < end; from += OTHERS) {
        __syncthreads();
        load_tile<OTHERS, WIDTH>(tile_k, head(p.k, p.type, p.kv_heads, g, p.keys, p.size), from);
        load_tile<OTHERS, WIDTH>(tile_v, head(p.v, p.type, p.kv_heads, g, p.keys, p.size), from);
        __syncthreads();
        float s[OTHERS / 8][4] = {}, ds[OTHERS / 8][4] = {};
        times_rows<OTHERS, WIDTH>(s, tile_q, own, tile_k);
        times_rows<OTHERS, WIDTH>(ds, tile_dy, own, tile_v);
#pragma unroll
        for (int n = 0; n < OTHERS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int r = i / 2, u = from + 8 * n + 2 * within + i % 2;
                bool seen = u >= start[r] && u <= position[r];
                ds[n][i] = seen ? expf(s[n][i] * p.scale - log_sum_exp[r]) * (ds[n][i] - delta[r]) : 0;
            }
        }
        weighted_rows<OTHERS, WIDTH>(sums, ds, tile_k);
    }
    const float factor[2] = {p.scale, p.scale};
    store_rows<WIDTH>(sums, p.dq, p.type, p.accumulate_q, (i64)p.heads * p.size, h * p.size, first + own, p.queries, p.size, factor);
}

// dk and dv of 64 keys of a key/value head: the transposed products, keys as rows.  grid: (ceil(T / 64), K)
template <int WIDTH> __device__ __forceinline__ void attention_backward_kv(const AttentionCall &p) {
    typedef u16 Row[WIDTH + 8];
    DYNAMIC_SHARED(Row, tile_k); // then the values, the queries and the outputs' gradients
    Row *tile_v = tile_k + OWN, *tile_q = tile_v + OWN, *tile_dy = tile_q + OTHERS;
    __shared__ int starts[OTHERS];
    __shared__ float log_sum_exps[OTHERS], deltas[OTHERS];
    int g = blockIdx.y, first = blockIdx.x * OWN, own = threadIdx.x / 32 * 16;
    int group = threadIdx.x % 32 / 4, within = threadIdx.x % 4;
    load_tile<OWN, WIDTH>(tile_k, head(p.k, p.type, p.kv_heads, g, p.keys, p.size), first);
    load_tile<OWN, WIDTH>(tile_v, head(p.v, p.type, p.kv_heads, g, p.keys, p.size), first);
    float dk[WIDTH / 8][4] = {}, dv[WIDTH / 8][4] = {};
    int end = document_end(p.offsets, p.documents + 1, min(first + OWN, p.keys) - 1, p.queries);
    int per_group = p.heads / p.kv_heads;
    for (int h = g * per_group; h < (g + 1) * per_group; h++) {
        for (int from = first; from < end; from += OTHERS) {
            __syncthreads();
            load_tile<OTHERS, WIDTH>(tile_q, head(p.q, p.type, p.heads, h, p.queries, p.size), from);
            load_tile<OTHERS, WIDTH>(tile_dy, head(p.dy, p.type, p.heads, h, p.queries, p.size), from);
            if (threadIdx.x < OTHERS) {
                int t = min(from + (int)threadIdx.x, p.queries - 1);
                starts[threadIdx.x] = document_start(p.offsets, p.documents, t);
                log_sum_exps[threadIdx.x] = p.log_sum_exp[(i64)h * p.queries + t];
                deltas[threadIdx.x] = p.delta[(i64)h * p.queries + t];
            }
            __syncthreads();
            float s[OTHERS / 8][4] = {}, ds[OTHERS / 8][4] = {};
            times_rows<OTHERS, WIDTH>(s, tile_k, own, tile_q);
            times_rows<OTHERS, WIDTH>(ds, tile_v, own, tile_dy);
#pragma unroll
            for (int n = 0; n < OTHERS / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int column = 8 * n + 2 * within + i % 2, t = from + column, u = first + own + group + i / 2 * 8;
                    bool seen = t < p.queries && u >= starts[column] && u <= t;
                    s[n][i] = seen ? expf(s[n][i] * p.scale - log_sum_exps[column]) : 0;
                    ds[n][i] = seen ? s[n][i] * (ds[n][i] - deltas[column]) : 0;
                }
            }
            weighted_rows<OTHERS, WIDTH>(dv, s, tile_dy);
            weighted_rows<OTHERS, WIDTH>(dk, ds, tile_q);
        }
    }
    const float one[2] = {1, 1}, scale[2] = {p.scale, p.scale};
    i64 stride = (i64)p.kv_heads * p.size;
    if (p.dk) {
        store_rows<WIDTH>(dk, p.dk, p.type, p.accumulate_k, stride, g * p.size, first + own, p.keys, p.size, scale);
    }
    if (p.dv) {
        store_rows<WIDTH>(dv, p.dv, p.type, p.accumulate_v, stride, g * p.size, first + own, p.keys, p.size, one);
    }
}

// One query against all keys so far, as when generating: bound by the reading of keys and values. Each of 8 warps takes
// every eighth key; what they have is joined at the end. Nothing is rounded to 16 bits.  grid: (H, T)
__device__ __forceinline__ void attention_cached(const AttentionCall &p) {
    __shared__ float largests[8], totals[8], parts[8][128];
    int h = blockIdx.x, t = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    i64 query = ((i64)t * p.heads + h) * p.size, stride = (i64)p.kv_heads * p.size;
    i64 offset = (i64)(h / (p.heads / p.kv_heads)) * p.size;
    float largest = -INFINITE, total = 0, q[4], sums[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int d = lane + 32 * i;
        q[i] = d < p.size ? load(p.q, p.type, query + d) * p.scale : 0;
    }
    for (int u = warp; u <= p.past + t; u += 8) {
        i64 from = u * stride + offset;
        float score = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            score += lane + 32 * i < p.size ? q[i] * load(p.k, p.type, from + lane + 32 * i) : 0;
        }
        score = warp_sum(score);
        float next = fmaxf(largest, score), keep = expf(largest - next), weight = expf(score - next);
        total = total * keep + weight;
        largest = next;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float v = lane + 32 * i < p.size ? load(p.v, p.type, from + lane + 32 * i) : 0;
            sums[i] = sums[i] * keep + weight * v;
        }
    }
    if (lane == 0) {
        largests[warp] = largest;
        totals[warp] = total;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        parts[warp][lane + 32 * i] = sums[i];
    }
    __syncthreads();
    for (int d = threadIdx.x; d < p.size; d += blockDim.x) {
        float all = largests[0], sum = 0, weights = 0; // warp 0 has seen key 0
        for (int w = 1; w < 8; w++) {
            all = fmaxf(all, largests[w]);
        }
        for (int w = 0; w < 8; w++) {
            float weight = expf(largests[w] - all);
            sum += weight * parts[w][d];
            weights += weight * totals[w];
        }
        if (p.type == F32) {
            ((float *)p.y)[query + d] = sum / weights;
        } else {
            store((bf16 *)p.y + query + d, sum / weights);
        }
    }
}

#define ATTENTION(name, threads, body)                                                                                 \
    extern "C" __global__ void __launch_bounds__(threads) name(AttentionCall p) { body(p); }                           \
    CUEMU_EXPORT(name)

ATTENTION(attention_forward_32, 128, attention_forward<32>)
ATTENTION(attention_forward_64, 128, attention_forward<64>)
ATTENTION(attention_forward_128, 128, attention_forward<128>)
ATTENTION(attention_deltas, 256, attention_delta)
ATTENTION(attention_backward_q_32, 128, attention_backward_q<32>)
ATTENTION(attention_backward_q_64, 128, attention_backward_q<64>)
ATTENTION(attention_backward_q_128, 128, attention_backward_q<128>)
ATTENTION(attention_backward_kv_32, 128, attention_backward_kv<32>)
ATTENTION(attention_backward_kv_64, 128, attention_backward_kv<64>)
ATTENTION(attention_backward_kv_128, 128, attention_backward_kv<128>)
ATTENTION(attention_of_one, 256, attention_cached)
