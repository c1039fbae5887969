// Root-mean-square normalisation, a block of threads a row. Formulas: io.qlora.engine.ops.RmsNorm.

// Times eight elements of a row that a thread keeps in registers: rows of up to 4096 are read once, the rest of wider ones
// again, from L2. More would leave too few threads to keep memory busy.
#define HELD 2

__device__ __forceinline__ int chunk(int i) { return 8 * (threadIdx.x + i * blockDim.x); } // its first column

/// v += added[c], as it is then stored in sum[c].
template <bool WHOLE, class T>
__device__ __forceinline__ void add_to(float v[8], const float there[8], T *sum, int c, int cols) {
    for (int k = 0; k < 8; k++) {
        v[k] = as_stored(sum, v[k] + there[k]);
    }
    store8<WHOLE>(sum, c, cols, v);
}

/// y[c] = v[c] · scale · w[c]
template <bool WHOLE, class T>
__device__ __forceinline__ void store_normalised(T *y, float v[8], float scale, const float *w, int c, int cols) {
    float weight[8];
    load8<WHOLE>(w, c, cols, weight);
    for (int k = 0; k < 8; k++) {
        v[k] = v[k] * scale * weight[k];
    }
    store8<WHOLE>(y, c, cols, v);
}

template <bool WHOLE, class T>
__device__ __forceinline__ void normalise(const T *x, const T *added, T *sum, const float *w, float eps, T *y, float *r, int cols) {
    i64 from = (i64)blockIdx.x * cols;
    x += from, added += added ? from : 0, sum += added ? from : 0, y += from;
    float held[HELD][8], squares = 0;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        load8<WHOLE>(x, chunk(i), cols, held[i]);
    }
    if (added) {
        float there[HELD][8];
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            load8<WHOLE>(added, chunk(i), cols, there[i]);
        }
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            add_to<WHOLE>(held[i], there[i], sum, chunk(i), cols);
        }
    }
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        for (int k = 0; k < 8; k++) {
            squares += held[i][k] * held[i][k];
        }
    }
    for (int c = chunk(HELD); c < cols; c += 8 * blockDim.x) {
        float v[8], there[8];
        load8<WHOLE>(x, c, cols, v);
        if (added) {
            load8<WHOLE>(added, c, cols, there);
            add_to<WHOLE>(v, there, sum, c, cols);
        }
        for (int k = 0; k < 8; k++) {
            squares += v[k] * v[k];
        }
    }
    float scale = 1 / sqrtf(block_sum(squares) / cols + eps);
    if (threadIdx.x == 0) {
        r[blockIdx.x] = scale;
    }
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        store_normalised<WHOLE>(y, held[i], scale, w, chunk(i), cols);
    }
    for (int c = chunk(HELD); c < cols; c += 8 * blockDim.x) {
        float v[8];
        load8<WHOLE>(added ? sum : x, c, cols, v);
        store_normalised<WHOLE>(y, v, scale, w, c, cols);
    }
}

// y[t,c] = x[t,c] · r[t] · w[c]; if something is added, of x + added, which is stored as `sum`: io.qlora.engine.ops.AddRmsNorm.
// grid: T
template <class T>
__device__ void rms_norm_forward(const T *x, const T *added, T *sum, const float *w, float eps, T *y, float *r, int cols) {
    if (cols % 8 == 0) {
        normalise<true>(x, added, sum, w, eps, y, r, cols);
    } else {
        normalise<false>(x, added, sum, w, eps, y, r, cols);
    }
}
ACTIVATION_KERNEL(rms_norm_forward, 256,
                  (const T *x, const T *added, T *sum, const float *w, float eps, T *y, float *r, int cols),
                  (x, added, sum, w, eps, y, r, cols))

/// v = x and d = w · dy of eight columns; the sum of their products.
template <bool WHOLE, class T>
__device__ __forceinline__ float load_weighted(const T *x, const float *w, const T *dy, int c, int cols, float v[8], float d[8]) {
    float weight[8], products = 0;
    load8<WHOLE>(x, c, cols, v);
    load8<WHOLE>(dy, c, cols, d);
    load8<WHOLE>(w, c, cols, weight);
    for (int k = 0; k < 8; k++) {
        d[k] *= weight[k];
        products += v[k] * d[k];
    }
    return products;
}

template <bool WHOLE, class T>
__device__ __forceinline__ void store_gradient(T *dx, float v[8], const float d[8], float scale, float mean, int c, int cols,
                                               int accumulate) {
    for (int k = 0; k < 8; k++) {
        v[k] = scale * (d[k] - v[k] * mean);
    }
    put8<WHOLE>(dx, c, cols, v, accumulate);
}

template <bool WHOLE, class T>
__device__ __forceinline__ void input_gradient(const T *x, const float *w, const float *r, const T *dy, T *dx, int accumulate, int cols) {
    i64 from = (i64)blockIdx.x * cols;
    x += from, dy += from, dx += from;
    float held[HELD][8], weighted[HELD][8], scale = r[blockIdx.x], products = 0;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        products += load_weighted<WHOLE>(x, w, dy, chunk(i), cols, held[i], weighted[i]);
    }
    for (int c = chunk(HELD); c < cols; c += 8 * blockDim.x) {
        float v[8], d[8];
        products += load_weighted<WHOLE>(x, w, dy, c, cols, v, d);
    }
    float mean = block_sum(products) / cols * scale * scale;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        store_gradient<WHOLE>(dx, held[i], weighted[i], scale, mean, chunk(i), cols, accumulate);
    }
    for (int c = chunk(HELD); c < cols; c += 8 * blockDim.x) {
        float v[8], d[8];
        load_weighted<WHOLE>(x, w, dy, c, cols, v, d);
        store_gradient<WHOLE>(dx, v, d, scale, mean, c, cols, accumulate);
    }
}

// dx[t,c] = r[t] · (w[c]·dy[t,c] − x[t,c] · r[t]² · mean_c(x[t,c]·w[c]·dy[t,c])), added to the residual's if that is there;
// grid: T
template <class T>
__device__ void rms_norm_backward_x(const T *x, const float *w, const float *r, const T *dy, T *dx, int accumulate, int cols) {
    if (cols % 8 == 0) {
        input_gradient<true>(x, w, r, dy, dx, accumulate, cols);
    } else {
        input_gradient<false>(x, w, r, dy, dx, accumulate, cols);
    }
}
ACTIVATION_KERNEL(rms_norm_backward_x, 256,
                  (const T *x, const float *w, const float *r, const T *dy, T *dx, int accumulate, int cols),
                  (x, w, r, dy, dx, accumulate, cols))

// dw[c] = sum_t dy[t,c] · x[t,c] · r[t];  64 columns a block, eight a thread, and 32 threads share the rows;
// grid: ceil(C / 64)
template <class T>
__device__ void rms_norm_backward_w(const T *x, const float *r, const T *dy, float *dw, int accumulate, int rows, int cols) {
    __shared__ float parts[32][64 + 4];
    int part = threadIdx.x / 8, column = threadIdx.x % 8 * 8, c = blockIdx.x * 64 + column;
    float sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
#pragma unroll 4
    for (int t = part; t < rows; t += 32) {
        float v[8], d[8];
        load8(x + (i64)t * cols, c, cols, v);
        load8(dy + (i64)t * cols, c, cols, d);
        for (int k = 0; k < 8; k++) {
            sums[k] += d[k] * v[k] * r[t];
        }
    }
    for (int k = 0; k < 8; k++) {
        parts[part][column + k] = sums[k];
    }
    __syncthreads();
    c = blockIdx.x * 64 + threadIdx.x;
    if (threadIdx.x < 64 && c < cols) {
        float sum = 0;
        for (int p = 0; p < 32; p++) {
            sum += parts[p][threadIdx.x];
        }
        put(dw + c, sum, accumulate);
    }
}
ACTIVATION_KERNEL(rms_norm_backward_w, 256,
                  (const T *x, const float *r, const T *dy, float *dw, int accumulate, int rows, int cols),
                  (x, r, dy, dw, accumulate, rows, cols))
