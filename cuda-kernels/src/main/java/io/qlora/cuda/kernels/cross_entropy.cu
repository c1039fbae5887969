// Softmax and negative log-likelihood of a chunk of logits, a block a row: io.qlora.engine.ops.LinearCrossEntropy.

#define THREADS 1024 // one block a multiprocessor, whose rows are then in L2 still when they are read again

#define AT_ONCE 4 // times eight logits a thread
#define LOG2_E 1.4426950408889634f

__device__ __forceinline__ int chunk(int from, int i) { return from + 8 * (threadIdx.x + i * THREADS); } // its first column

/// The largest of a thread's logits, and the sum of exp(z − largest), which is corrected whenever a larger one comes.
template <bool WHOLE, class T>
__device__ __forceinline__ void online_sum(const T *z, int cols, float &largest, float &sum) {
    for (int from = 0; from < cols; from += 8 * AT_ONCE * THREADS) {
        float v[AT_ONCE][8], most = largest;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            load8<WHOLE>(z, chunk(from, i), cols, v[i]);
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            for (int k = 0; k < 8; k++) {
                v[i][k] = chunk(from, i) + k < cols ? v[i][k] : -INFINITE;
                most = v[i][k] > most || v[i][k] != v[i][k] ? v[i][k] : most;
            }
        }
        float base = most == -INFINITE ? 0 : most; // nothing seen yet
        sum *= power_of_two((largest - base) * LOG2_E);
        largest = most;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            for (int k = 0; k < 8; k++) {
                sum += power_of_two((v[i][k] - base) * LOG2_E);
            }
        }
    }
}

/// z = share · exp(z − largest), less `scale` at the target.
template <bool WHOLE, class T>
__device__ __forceinline__ void gradient_of_logits(T *z, int target, float largest, float share, float scale, int cols) {
    for (int from = 0; from < cols; from += 8 * AT_ONCE * THREADS) {
        float v[AT_ONCE][8];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            load8<WHOLE>(z, chunk(from, i), cols, v[i]);
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            int c = chunk(from, i);
            for (int k = 0; k < 8; k++) {
                v[i][k] = share * power_of_two((v[i][k] - largest) * LOG2_E) - (c + k == target ? scale : 0);
            }
            store8<WHOLE>(z, c, cols, v[i]);
        }
    }
}

// nll[n] = logSumExp(z[n]) − z[n, target]; with `gradient`, z becomes scale · (softmax − onehot).  grid: n
template <class T>
__device__ void cross_entropy_nll(T *logits, const int *targets, float scale, int gradient, float *nll, int cols) {
    T *z = logits + (i64)blockIdx.x * cols;
    int target = targets[blockIdx.x];
    bool whole = cols % 8 == 0;
    float mine = -INFINITE, sum = 0;
    if (whole) {
        online_sum<true>(z, cols, mine, sum);
    } else {
        online_sum<false>(z, cols, mine, sum);
    }
    float largest = block_max(mine);
    sum = block_sum(mine == -INFINITE ? 0 : sum * power_of_two((mine - largest) * LOG2_E));
    if (threadIdx.x == 0) {
        bool there = target >= 0 && target < cols;
        nll[blockIdx.x] = there ? logf(sum) + largest - load(z + target) : NOT_A_NUMBER;
    }
    if (!gradient) {
        return;
    }
    __syncthreads(); // the target's logit is read before it is overwritten
    if (whole) {
        gradient_of_logits<true>(z, target, largest, scale / sum, scale, cols);
    } else {
        gradient_of_logits<false>(z, target, largest, scale / sum, scale, cols);
    }
}
ACTIVATION_KERNEL(cross_entropy_nll, THREADS,
                  (T *logits, const int *targets, float scale, int gradient, float *nll, int cols),
                  (logits, targets, scale, gradient, nll, cols))

// loss = scale · sum of nll, in float64, since there may be many;  grid: 1
extern "C" __global__ void __launch_bounds__(256) cross_entropy_sum(const float *nll, int count, float scale, float *loss) {
    double sum = 0;
    for (int n = threadIdx.x; n < count; n += blockDim.x) {
        sum += nll[n];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        *loss = (float)(scale * sum);
    }
}
CUEMU_EXPORT(cross_entropy_sum)

// to = factor · from, or added;  grid: ceil(n / 2048)
extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_scale(const float *from, const float *factor, float *to, int accumulate, i64 n) {
    i64 i = 8 * global_thread();
    if (i >= n) {
        return;
    }
    float v[8];
    load8(from, i, n, v);
    for (int k = 0; k < 8; k++) {
        v[k] *= *factor;
    }
    put8(to, i, n, v, accumulate);
}
CUEMU_EXPORT(cross_entropy_scale)
