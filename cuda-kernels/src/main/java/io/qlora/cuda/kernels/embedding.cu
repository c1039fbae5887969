// Rows of a table by token id. Formulas: io.qlora.engine.ops.Embedding.

// y[t] = table[ids[t]], of any type; an id that is not in the table gives NaN.  grid: T
template <class T>
__device__ void embedding_forward(const int *ids, const void *table, int type, T *y, int cols, int count) {
    i64 id = ids[blockIdx.x], to = (i64)blockIdx.x * cols;
    bool there = id >= 0 && id < count;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        store(y + to + c, there ? load(table, type, id * cols + c) : NOT_A_NUMBER);
    }
}
ACTIVATION_KERNEL(embedding_forward, 256, (const int *ids, const void *table, int type, T *y, int cols, int count),
                  (ids, table, type, y, cols, count))

// to[v] = factor · sum of from[t] over all t with ids[t] = v, in their order; null factor: 1.  A block looks through all ids
// for those of its row, so that no two add to the same place at once.  grid: rows of `to`
template <class T, class U>
__device__ void gather_sum(const int *ids, const T *from, const float *factor, U *to, int accumulate, int count, int cols) {
    i64 row = (i64)blockIdx.x * cols;
    float scale = factor ? *factor : 1;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        float sum = 0;
        bool any = false;
        for (int t = 0; t < count; t++) {
            if (ids[t] == (int)blockIdx.x) {
                sum += load(from + (i64)t * cols + c);
                any = true;
            }
        }
        if (any || !accumulate) {
            put(to + row + c, scale * sum, accumulate);
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
__device__ void scatter_rows(const int *rows, const float *gathered, const float *dloss, T *dx, int accumulate, int count,
                             int cols) {
    gather_sum(rows, gathered, dloss, dx, accumulate, count, cols);
}
ACTIVATION_KERNEL(scatter_rows, 256,
                  (const int *rows, const float *gathered, const float *dloss, T *dx, int accumulate, int count, int cols),
                  (rows, gathered, dloss, dx, accumulate, count, cols))
