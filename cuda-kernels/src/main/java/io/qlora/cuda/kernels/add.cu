template <bool WHOLE, class T> __device__ __forceinline__ void add(const T *x, const T *y, T *z, i64 i, i64 n) {
    float a[8], b[8];
    load8<WHOLE>(x, i, n, a);
    load8<WHOLE>(y, i, n, b);
    for (int k = 0; k < 8; k++) {
        a[k] += b[k];
    }
    store8<WHOLE>(z, i, n, a);
}

// The residual connection: z = x + y, where z may be one of them; eight elements a thread.  grid: ceil(n / 2048)
template <class T> __device__ void add_forward(const T *x, const T *y, T *z, i64 n) {
    if (n % 8 == 0 && aligned(x) && aligned(y) && aligned(z)) { // some rows of a tensor may begin anywhere
        add<true>(x, y, z, 8 * global_thread(), n);
    } else {
        add<false>(x, y, z, 8 * global_thread(), n);
    }
}
ACTIVATION_KERNEL(add_forward, 256, (const T *x, const T *y, T *z, i64 n), (x, y, z, n))
