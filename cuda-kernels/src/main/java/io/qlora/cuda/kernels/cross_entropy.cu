// Softmax and negative log-likelihood of a chunk of logits, a block a row: io.qlora.engine.ops.LinearCrossEntropy.

// nll[n] = logSumExp(z[n]) − z[n, target]; with `gradient`, z becomes scale · (softmax − onehot).  grid: n
template <class T>
__device__ void cross_entropy_nll(T *logits, const int *targets, float scale, int gradient, float *nll, int cols) {
    T *z = logits + (i64)blockIdx.x * cols;
    int target = targets[blockIdx.x];
    float largest = -INFINITE;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        float x = load(z + c);
        largest = x > largest || x != x ? x : largest;
    }
    largest = block_max(largest);
    float sum = 0;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        sum += expf(load(z + c) - largest);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        bool there = target >= 0 && target < cols;
        nll[blockIdx.x] = there ? logf(sum) + largest - load(z + target) : NOT_A_NUMBER;
    }
    __syncthreads(); // the target's logit is read before it is overwritten
    for (int c = threadIdx.x; gradient && c < cols; c += blockDim.x) {
        float probability = expf(load(z + c) - largest) / sum;
        store(z + c, scale * (c == target ? probability - 1 : probability));
    }
}
ACTIVATION_KERNEL(cross_entropy_nll, 256, (T *logits, const int *targets, float scale, int gradient, float *nll, int cols),
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
