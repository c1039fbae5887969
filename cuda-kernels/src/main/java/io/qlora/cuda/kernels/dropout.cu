// Dropout by Philox4x32-10: the same elements stay as on the CPU. See io.qlora.engine.ops.Dropout and Philox.

struct Words {
    u32 x0, x1, x2, x3;
};

__device__ __forceinline__ Words philox(u32 x0, u32 x1, u32 x2, u32 x3, u32 k0, u32 k1) {
    for (int round = 0; round < 10; round++) {
        u32 high0 = __umulhi(0xD2511F53u, x0), low0 = 0xD2511F53u * x0;
        u32 high2 = __umulhi(0xCD9E8D57u, x2), low2 = 0xCD9E8D57u * x2;
        x0 = high2 ^ x1 ^ k0;
        x1 = low2;
        x2 = high0 ^ x3 ^ k1;
        x3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {x0, x1, x2, x3};
}

// y = x ∘ mask · scale, or added to y; four columns, one Philox block, a thread. y may be x.  grid: ceil(T · ceil(C / 4) / 256)
template <class T>
__device__ void dropout(const T *x, T *y, int accumulate, const int *documents, const int *positions, int rows, int cols,
                        u32 key0, u32 key1, u32 site, u32 threshold, float scale) {
    int quads = (cols + 3) / 4;
    i64 i = global_thread();
    if (i >= (i64)rows * quads) {
        return;
    }
    int row = (int)(i / quads), quad = (int)(i % quads);
    Words words = philox(quad, positions[row], documents[row], site, key0, key1);
    u32 word[4] = {words.x0, words.x1, words.x2, words.x3};
    for (int k = 0; k < 4 && 4 * quad + k < cols; k++) {
        i64 at = (i64)row * cols + 4 * quad + k;
        put(y + at, word[k] >= threshold ? load(x + at) * scale : 0, accumulate);
    }
}
ACTIVATION_KERNEL(dropout, 256,
                  (const T *x, T *y, int accumulate, const int *documents, const int *positions, int rows, int cols, u32 key0,
                   u32 key1, u32 site, u32 threshold, float scale),
                  (x, y, accumulate, documents, positions, rows, cols, key0, key1, site, threshold, scale))
