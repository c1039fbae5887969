// Dropout by Philox4x32-10: the same elements stay as on the CPU. See io.qlora.engine.ops.Dropout and Philox.

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
