// Dropout by Philox4x32-10: the same elements stay as on the CPU. See io.qlora.engine.ops.Dropout and Philox.

__device__ __forceinline__ void load4(const bf16 *p, float v[4]) {
    uint2 w = *(const uint2 *)p;
    v[0] = low(w.x), v[1] = high(w.x), v[2] = low(w.y), v[3] = high(w.y);
}

__device__ __forceinline__ void load4(const float *p, float v[4]) {
    float4 w = *(const float4 *)p;
    v[0] = w.x, v[1] = w.y, v[2] = w.z, v[3] = w.w;
}

__device__ __forceinline__ void store4(bf16 *p, const float v[4]) {
    *(uint2 *)p = make_uint2(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]));
}

__device__ __forceinline__ void store4(float *p, const float v[4]) { *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]); }

// y = x ∘ mask · scale, or added to y; four columns, one Philox block, a thread. y may be x.  A row's blocks are beside each other
// in y: to divide a thread's number by the columns would take as long as Philox.  grid: (T, ceil(C / 1024))
template <class T>
__device__ void dropout(const T *x, T *y, int accumulate, const int *documents, const int *positions, int cols, u32 key0,
                        u32 key1, u32 site, u32 threshold, float scale) {
    int row = blockIdx.x, quad = blockIdx.y * blockDim.x + threadIdx.x, c = 4 * quad;
    if (c >= cols) {
        return;
    }
    Words words = philox(quad, positions[row], documents[row], site, key0, key1);
    u32 word[4] = {words.x0, words.x1, words.x2, words.x3};
    x += (i64)row * cols + c, y += (i64)row * cols + c;
    if (cols % 4 == 0) {
        float v[4], there[4] = {0, 0, 0, 0};
        load4(x, v);
        if (accumulate) {
            load4(y, there);
        }
        for (int k = 0; k < 4; k++) {
            v[k] = there[k] + (word[k] >= threshold ? v[k] * scale : 0);
        }
        store4(y, v);
    } else {
        for (int k = 0; k < 4 && c + k < cols; k++) {
            put(y + k, word[k] >= threshold ? load(x + k) * scale : 0, accumulate);
        }
    }
}
ACTIVATION_KERNEL(dropout, 256,
                  (const T *x, T *y, int accumulate, const int *documents, const int *positions, int cols, u32 key0, u32 key1,
                   u32 site, u32 threshold, float scale),
                  (x, y, accumulate, documents, positions, cols, key0, key1, site, threshold, scale))
