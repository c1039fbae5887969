// Rotary position embedding of queries and keys in one launch, eight pairs a thread. Formulas: io.qlora.engine.ops.Rope.

/// Eight pairs of a head, from pair j on: pair j is elements j and half + j of the head at `head`.
template <bool WHOLE, class T>
__device__ __forceinline__ void rotate(const T *from, T *to, int accumulate, i64 head, int j, int half, const float *cos,
                                       const float *sin, float sign) {
    float x1[8], x2[8], c[8], s[8];
    load8<WHOLE>(from + head, j, half, x1);
    load8<WHOLE>(from + head + half, j, half, x2);
    load8<WHOLE>(cos, j, half, c);
    load8<WHOLE>(sin, j, half, s);
    for (int k = 0; k < 8; k++) {
        float first = x1[k] * c[k] - x2[k] * (sign * s[k]);
        x2[k] = x2[k] * c[k] + x1[k] * (sign * s[k]);
        x1[k] = first;
    }
    put8<WHOLE>(to + head, j, half, x1, accumulate);
    put8<WHOLE>(to + head + half, j, half, x2, accumulate);
}

// Rotates q [T, H·D] and k [T, K·D] by the angles of the tokens' positions; with sign −1, back: the gradient. Null pointers are
// skipped.  grid: ceil(T · (H + K) · ceil(D / 16) / 256)
template <class T>
__device__ void rope(const T *q, T *rotated_q, int accumulate_q, int heads, const T *k, T *rotated_k, int accumulate_k,
                     int kv_heads, const float *cos, const float *sin, const int *positions, int tokens, int half, float sign) {
    // 32 bits: no card has room for 2³² times eight pairs, and to divide 64 would take longer than memory does
    u32 parts = (half + 7) / 8, of_token = (heads + kv_heads) * parts, i = (u32)global_thread(), token = i / of_token;
    if (token >= (u32)tokens) {
        return;
    }
    int rest = (int)(i % of_token), h = rest / parts, j = rest % parts * 8;
    i64 angle = (i64)positions[token] * half;
    bool of_q = h < heads;
    T *to = of_q ? rotated_q : rotated_k;
    const T *from = of_q ? q : k;
    i64 head = (of_q ? (i64)token * heads + h : (i64)token * kv_heads + h - heads) * 2 * half;
    int accumulate = of_q ? accumulate_q : accumulate_k;
    if (to && half % 8 == 0) {
        rotate<true>(from, to, accumulate, head, j, half, cos + angle, sin + angle, sign);
    } else if (to) {
        rotate<false>(from, to, accumulate, head, j, half, cos + angle, sin + angle, sign);
    }
}
ACTIVATION_KERNEL(rope, 256,
                  (const T *q, T *rotated_q, int accumulate_q, int heads, const T *k, T *rotated_k, int accumulate_k,
                   int kv_heads, const float *cos, const float *sin, const int *positions, int tokens, int half, float sign),
                  (q, rotated_q, accumulate_q, heads, k, rotated_k, accumulate_k, kv_heads, cos, sin, positions, tokens, half,
                   sign))
