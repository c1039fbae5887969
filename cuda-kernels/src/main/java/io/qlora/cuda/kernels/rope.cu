// Rotary position embedding of queries and keys in one launch, a block a token. Formulas: io.qlora.engine.ops.Rope.

/// Pair j of head h of a row of queries or keys; null pointers are skipped.
template <class T>
__device__ void rotate_heads(const T *from, T *to, int accumulate, const float *cos, const float *sin, float sign, int heads,
                             int half, i64 row) {
    for (int i = threadIdx.x; to && i < heads * half; i += blockDim.x) {
        int j = i % half;
        i64 first = row * heads * 2 * half + (i64)(i / half) * 2 * half + j, second = first + half;
        float c = cos[j], s = sign * sin[j], x1 = load(from + first), x2 = load(from + second);
        put(to + first, x1 * c - x2 * s, accumulate);
        put(to + second, x2 * c + x1 * s, accumulate);
    }
}

// Rotates q [T, H·D] and k [T, K·D] by the angles of the tokens' positions; with sign −1, back: the gradient.  grid: T
template <class T>
__device__ void rope(const T *q, T *rotated_q, int accumulate_q, int heads, const T *k, T *rotated_k, int accumulate_k,
                     int kv_heads, const float *cos, const float *sin, const int *positions, int half, float sign) {
    i64 row = blockIdx.x, angle = (i64)positions[row] * half;
    rotate_heads(q, rotated_q, accumulate_q, cos + angle, sin + angle, sign, heads, half, row);
    rotate_heads(k, rotated_k, accumulate_k, cos + angle, sin + angle, sign, kv_heads, half, row);
}
ACTIVATION_KERNEL(rope, 256,
                  (const T *q, T *rotated_q, int accumulate_q, int heads, const T *k, T *rotated_k, int accumulate_k,
                   int kv_heads, const float *cos, const float *sin, const int *positions, int half, float sign),
                  (q, rotated_q, accumulate_q, heads, k, rotated_k, accumulate_k, kv_heads, cos, sin, positions, half, sign))
