// Rows of a table by token id. Formulas: io.qlora.engine.ops.Embedding.

// y[t] = table[ids[t]], of any type; an id that is not in the table gives NaN.  grid: T
template <class T>
__device__ void embedding_forward(const int *ids, const void *table, int type, T *y, int cols, int count) {
    int id = ids[blockIdx.x];
    T *to = y + (i64)blockIdx.x * cols;
    float v[8] = {NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER};
    for (int c = 8 * threadIdx.x; c < cols; c += 8 * blockDim.x) {
        if (id >= 0 && id < count) {
            load8(table, type, (i64)id * cols + c, (i64)id * cols + cols, v);
        }
        store8(to, c, cols, v);
    }
}
ACTIVATION_KERNEL(embedding_forward, 256, (const int *ids, const void *table, int type, T *y, int cols, int count),
                  (ids, table, type, y, cols, count))

// to[v] = factor · sum of from[t] over all t with ids[t] = v, in their order; null factor: 1.  A block looks for the ids of
// its row, so that no two add to the same place at once: each warp for itself, 32 at a time.  grid: rows of `to`
template <class T, class U>
__device__ void gather_sum(const int *ids, const T *from, const float *factor, U *to, int accumulate, int count, int cols) {
    i64 row = (i64)blockIdx.x * cols;
    float scale = factor ? *factor : 1;
    int lane = threadIdx.x % 32;
    for (int first = 0; first < cols; first += 8 * blockDim.x) {
        int c = first + 8 * threadIdx.x;
        float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        bool any = false;
        for (int from_id = 0; from_id < count; from_id += 32) {
            int mine = from_id + lane;
            u32 hits = __ballot_sync(FULL_WARP, mine < count && ids[mine] == (int)blockIdx.x);
            any |= hits != 0;
            for (; hits && c < cols; hits &= hits - 1) {
                float v[8];
                load8(from + (i64)(from_id + __ffs(hits) - 1) * cols, c, cols, v);
                for (int k = 0; k < 8; k++) {
                    sum[k] += v[k];
                }
            }
        }
        if (c < cols && (any || !accumulate)) {
            for (int k = 0; k < 8; k++) {
                sum[k] *= scale;
            }
            put8(to + row, c, cols, sum, accumulate);
        }
    }
}

// dtable[v], float32
template <class T>
__device__ void embedding_backward(const int *ids, const T *dy, float *dtable, int accumulate, int count, int cols) {
    gather_sum(ids, dy, (const float *)0, dtable, accumulate, count, cols);
}
ACTIVATION_KERNEL(embedding_backward, 256,
                  (const int *ids, const T *dy, float *dtable, int accumulate, int count, int cols),
                  (ids, dy, dtable, accumulate, count, cols))

// dx[rows[n]] = dloss · gathered[n], of the head's loss
template <class T>
__device__ void scatter_rows(const int *rows, const T *gathered, const float *dloss, T *dx, int accumulate, int count,
                             int cols) {
    gather_sum(rows, gathered, dloss, dx, accumulate, count, cols);
}
ACTIVATION_KERNEL(scatter_rows, 256,
                  (const int *rows, const T *gathered, const float *dloss, T *dx, int accumulate, int count, int cols),
                  (rows, gathered, dloss, dx, accumulate, count, cols))
