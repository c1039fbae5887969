// Uniform random numbers, four elements, one Philox block, a thread. Formula: io.qlora.engine.ops.Uniform.

// grid: ceil(n / 1024)
template <class T> __device__ void uniform(T *x, i64 n, u32 stream, u32 domain, u32 key0, u32 key1, float bound) {
    i64 i = 4 * global_thread();
    if (i >= n) {
        return;
    }
    Words words = philox((u32)(i % 65536 / 4), (u32)(i / 65536), stream, domain, key0, key1);
    u32 word[4] = {words.x0, words.x1, words.x2, words.x3};
    for (int k = 0; k < 4 && i + k < n; k++) {
        store(x + i + k, (float)((int)word[k] >> 8) * 0x1p-23f * bound);
    }
}
ACTIVATION_KERNEL(uniform, 256, (T *x, i64 n, u32 stream, u32 domain, u32 key0, u32 key1, float bound),
                  (x, n, stream, domain, key0, key1, bound))
