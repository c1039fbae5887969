// Root-mean-square normalisation, a block of threads a row. Formulas: io.qlora.engine.ops.RmsNorm.

// y[t,c] = x[t,c] · r[t] · w[c];  grid: T
template <class T>
__device__ void rms_norm_forward(const T *x, const float *w, float eps, T *y, float *r, int cols) {
    i64 from = (i64)blockIdx.x * cols;
    float squares = 0;
    for (int c = 8 * threadIdx.x; c < cols; c += 8 * blockDim.x) {
        float v[8];
        load8(x + from, c, cols, v);
        for (int k = 0; k < 8; k++) {
            squares += v[k] * v[k];
        }
    }
    float scale = 1 / sqrtf(block_sum(squares) / cols + eps);
    if (threadIdx.x == 0) {
        r[blockIdx.x] = scale;
    }
    for (int c = 8 * threadIdx.x; c < cols; c += 8 * blockDim.x) {
        float v[8], weight[8];
        load8(x + from, c, cols, v);
        load8(w, c, cols, weight);
        for (int k = 0; k < 8; k++) {
            v[k] = v[k] * scale * weight[k];
        }
        store8(y + from, c, cols, v);
    }
}
ACTIVATION_KERNEL(rms_norm_forward, 256, (const T *x, const float *w, float eps, T *y, float *r, int cols),
                  (x, w, eps, y, r, cols))

// dx[t,c] = r[t] · (w[c]·dy[t,c] − x[t,c] · r[t]² · mean_c(x[t,c]·w[c]·dy[t,c]));  grid: T
template <class T>
__device__ void rms_norm_backward_x(const T *x, const float *w, const float *r, const T *dy, T *dx, int accumulate, int cols) {
    i64 from = (i64)blockIdx.x * cols;
    float scale = r[blockIdx.x], products = 0;
    for (int c = 8 * threadIdx.x; c < cols; c += 8 * blockDim.x) {
        float v[8], weight[8], d[8];
        load8(x + from, c, cols, v);
        load8(w, c, cols, weight);
        load8(dy + from, c, cols, d);
        for (int k = 0; k < 8; k++) {
            products += v[k] * weight[k] * d[k];
        }
    }
    float mean = block_sum(products) / cols * scale * scale;
    for (int c = 8 * threadIdx.x; c < cols; c += 8 * blockDim.x) {
        float v[8], weight[8], d[8];
        load8(x + from, c, cols, v);
        load8(w, c, cols, weight);
        load8(dy + from, c, cols, d);
        for (int k = 0; k < 8; k++) {
            v[k] = scale * (weight[k] * d[k] - v[k] * mean);
        }
        put8(dx + from, c, cols, v, accumulate);
    }
}
ACTIVATION_KERNEL(rms_norm_backward_x, 256,
                  (const T *x, const float *w, const float *r, const T *dy, T *dx, int accumulate, int cols),
                  (x, w, r, dy, dx, accumulate, cols))

// dw[c] = sum_t dy[t,c] · x[t,c] · r[t];  32 columns a block, its 8 warps share the rows;  grid: ceil(C / 32)
template <class T>
__device__ void rms_norm_backward_w(const T *x, const float *r, const T *dy, float *dw, int accumulate, int rows, int cols) {
    __shared__ float parts[8][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = blockIdx.x * 32 + lane;
    float sum = 0;
    for (int t = warp; t < rows && c < cols; t += 8) {
        i64 i = (i64)t * cols + c;
        sum += load(dy + i) * load(x + i) * r[t];
    }
    parts[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && c < cols) {
        sum = 0;
        for (int part = 0; part < 8; part++) {
            sum += parts[part][lane];
        }
        put(dw + c, sum, accumulate);
    }
}
ACTIVATION_KERNEL(rms_norm_backward_w, 256,
                  (const T *x, const float *r, const T *dy, float *dw, int accumulate, int rows, int cols),
                  (x, r, dy, dw, accumulate, rows, cols))
