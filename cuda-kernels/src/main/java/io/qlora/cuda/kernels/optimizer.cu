// The optimizer's kernels: over all parameters in one launch. A table in device memory lists the tensors.

// AdamW, in torch's order of operations: io.qlora.engine.optim.AdamW.

/// A parameter with its state; written by CudaAdamW.
struct Slot {
    float *value, *mean, *square;
    const float *gradient;
    i64 size;
    double rate_factor;
};

// grid: (blocks, slots)
extern "C" __global__ void __launch_bounds__(256)
    adam_w(const Slot *slots, float mean_weight, float square_decay, float square_weight, float square_correction, float epsilon,
           float gradient_scale, double learning_rate, double weight_decay, double mean_correction) {
    const Slot &slot = slots[blockIdx.y]; // not copied: sm_100 would spill it
    double rate = __dmul_rn(learning_rate, slot.rate_factor); // rounded as on the CPU
    float keep = (float)__dsub_rn(1, __dmul_rn(rate, weight_decay)), step = (float)__ddiv_rn(rate, mean_correction);
    for (i64 i = global_thread(); i < slot.size; i += (i64)gridDim.x * blockDim.x) {
        float g = slot.gradient[i] * gradient_scale;
        float m = slot.mean[i], v = slot.square[i];
        m = m + mean_weight * (g - m);
        v = square_decay * v + square_weight * g * g;
        slot.mean[i] = m;
        slot.square[i] = v;
        float denominator = sqrtf(v) / square_correction + epsilon;
        slot.value[i] = slot.value[i] * keep - step * (m / denominator);
    }
}
CUEMU_EXPORT(adam_w)

// The norm of all gradients: io.qlora.engine.optim.GradientNorm. Squares in float64 cannot overflow, and the order is fixed.

/// A tensor; written by CudaGradientNorm.
struct Run {
    const float *values;
    i64 size;
};

// parts[slot · gridDim.x + block] = its share of the sum of squares;  grid: (blocks, tensors)
extern "C" __global__ void __launch_bounds__(256) sum_of_squares(const Run *runs, double *parts) {
    Run run = runs[blockIdx.y];
    double sum = 0;
    for (i64 i = global_thread(); i < run.size; i += (i64)gridDim.x * blockDim.x) {
        double x = run.values[i];
        sum += x * x;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        parts[(i64)blockIdx.y * gridDim.x + blockIdx.x] = sum;
    }
}
CUEMU_EXPORT(sum_of_squares)

// norm = sqrt(sum of parts);  grid: 1
extern "C" __global__ void __launch_bounds__(256) norm_of_parts(const double *parts, int count, float *norm) {
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        sum += parts[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        *norm = (float)sqrt(sum);
    }
}
CUEMU_EXPORT(norm_of_parts)
