// Conversions between element types, eight elements a thread: io.qlora.engine.ops.Cast.

// to = from, or added to it.  grid: ceil(n / 2048)
template <class T> __device__ void cast_to(const void *from, int type, T *to, int accumulate, i64 n) {
    i64 i = 8 * global_thread();
    if (i >= n) {
        return;
    }
    float v[8];
    if (type == F32) {
        load8((const float *)from, i, n, v);
    } else if (type == BF16) {
        load8((const bf16 *)from, i, n, v);
    } else {
        for (int k = 0; k < 8; k++) {
            v[k] = i + k < n ? load(from, type, i + k) : 0;
        }
    }
    put8(to, i, n, v, accumulate);
}
ACTIVATION_KERNEL(cast_to, 256, (const void *from, int type, T *to, int accumulate, i64 n), (from, type, to, accumulate, n))
