// Kernels with a fault each, to show that the emulation finds it. Built by EmulationTest, with or without the fault.

// Reverses 64 numbers through shared memory.
extern "C" __global__ void reverse(const int *x, int *y) {
    __shared__ int values[64];
    values[threadIdx.x] = x[threadIdx.x];
#ifndef WITHOUT_BARRIER
    __syncthreads();
#endif
    y[threadIdx.x] = values[63 - threadIdx.x];
}
CUEMU_EXPORT(reverse)

// Half of the threads wait for all, the others for their warp only.
extern "C" __global__ void diverge(const int *, int *y) {
    if (threadIdx.x < 16) {
        __syncthreads();
    }
    __syncwarp();
    y[threadIdx.x] = 1;
}
CUEMU_EXPORT(diverge)

// Reads one element too many.
extern "C" __global__ void overrun(const int *x, int *y) { y[threadIdx.x] = x[threadIdx.x + 1]; }
CUEMU_EXPORT(overrun)
