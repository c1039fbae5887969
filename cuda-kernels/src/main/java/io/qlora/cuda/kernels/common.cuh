// What all kernels share. Put in front of every .cu file by whoever compiles it (nvcc -include, NVRTC, g++), since kernels
// include nothing: NVRTC brings no headers, and CUDA's own may not be redistributed.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

/// A bfloat16 as it lies in memory: the upper half of a float32.
struct bf16 {
    u16 bits;
};

// Element types as Java's DType orders them, for operands whose type is known at run time only.
enum Type { F32 = 0, F16 = 1, BF16 = 2, NF4 = 5 };

#ifndef CUEMU // cuemu.h brings its own of these

#define DYNAMIC_SHARED(T, name)                                                                                        \
    extern __shared__ __align__(128) char dynamic_shared_memory[];                                                     \
    T *name = (T *)dynamic_shared_memory

#define CUEMU_EXPORT(kernel)

/// Two floats rounded to nearest even, the first in the low half.
__device__ __forceinline__ u32 bf16_pair(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

__device__ __forceinline__ float f16_to_f32(u16 bits) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
    return f;
}

/// d += a·b for a of 16×16, b of 16×8: each lane holds the part that PTX's manual says.
__device__ __forceinline__ void mma_m16n8k16(float d[4], const u32 a[4], const u32 b[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

// A kernel for activations of float32 and one for bfloat16, named after its body plus _f32 or _bf16.
#define ACTIVATION_KERNEL(name, threads, parameters, arguments)                                                        \
    namespace of_f32 {                                                                                                 \
    typedef float T;                                                                                                   \
    extern "C" __global__ void __launch_bounds__(threads) name##_f32 parameters { name<T> arguments; }                 \
    CUEMU_EXPORT(name##_f32)                                                                                           \
    }                                                                                                                  \
    namespace of_bf16 {                                                                                                \
    typedef bf16 T;                                                                                                    \
    extern "C" __global__ void __launch_bounds__(threads) name##_bf16 parameters { name<T> arguments; }                \
    CUEMU_EXPORT(name##_bf16)                                                                                          \
    }

#define INFINITE __uint_as_float(0x7f800000u)
#define NOT_A_NUMBER __uint_as_float(0x7fc00000u)
#define FULL_WARP 0xffffffffu

// ---- elements ---------------------------------------------------------------------------------------------------------

__device__ __forceinline__ float low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

__device__ __forceinline__ float load(const float *p) { return *p; }
__device__ __forceinline__ float load(const bf16 *p) { return __uint_as_float((u32)p->bits << 16); }
__device__ __forceinline__ void store(float *p, float x) { *p = x; }
__device__ __forceinline__ void store(bf16 *p, float x) { p->bits = (u16)bf16_pair(x, 0); }

/// Element i of an array of F32, F16 or BF16.
__device__ __forceinline__ float load(const void *p, int type, i64 i) {
    if (type == F32) {
        return ((const float *)p)[i];
    }
    u16 bits = ((const u16 *)p)[i];
    return type == BF16 ? __uint_as_float((u32)bits << 16) : f16_to_f32(bits);
}

/// Sets an element, or adds to it.
template <class T> __device__ __forceinline__ void put(T *p, float x, int accumulate) {
    store(p, accumulate ? load(p) + x : x);
}

// Eight elements at a time, 16 or 32 bytes, where they are aligned and all there; what lies at or after `end` reads as 0.

__device__ __forceinline__ bool aligned(const void *p) { return ((u64)p & 15) == 0; }

__device__ __forceinline__ void load8(const bf16 *p, i64 i, i64 end, float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        uint4 w = *(const uint4 *)(p + i);
        v[0] = low(w.x), v[1] = high(w.x), v[2] = low(w.y), v[3] = high(w.y);
        v[4] = low(w.z), v[5] = high(w.z), v[6] = low(w.w), v[7] = high(w.w);
    } else {
        for (int k = 0; k < 8; k++) {
            v[k] = i + k < end ? load(p + i + k) : 0;
        }
    }
}

__device__ __forceinline__ void load8(const float *p, i64 i, i64 end, float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        float4 a = *(const float4 *)(p + i), b = *(const float4 *)(p + i + 4);
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    } else {
        for (int k = 0; k < 8; k++) {
            v[k] = i + k < end ? p[i + k] : 0;
        }
    }
}

__device__ __forceinline__ void store8(bf16 *p, i64 i, i64 end, const float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        *(uint4 *)(p + i) =
            make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
    } else {
        for (int k = 0; k < 8 && i + k < end; k++) {
            store(p + i + k, v[k]);
        }
    }
}

__device__ __forceinline__ void store8(float *p, i64 i, i64 end, const float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        *(float4 *)(p + i) = make_float4(v[0], v[1], v[2], v[3]);
        *(float4 *)(p + i + 4) = make_float4(v[4], v[5], v[6], v[7]);
    } else {
        for (int k = 0; k < 8 && i + k < end; k++) {
            p[i + k] = v[k];
        }
    }
}

/// Sets eight elements, or adds to them.
template <class T> __device__ __forceinline__ void put8(T *p, i64 i, i64 end, float v[8], int accumulate) {
    if (accumulate) {
        float there[8];
        load8(p, i, end, there);
        for (int k = 0; k < 8; k++) {
            v[k] += there[k];
        }
    }
    store8(p, i, end, v);
}

// ---- NF4: see io.qlora.engine.tensor.Nf4Weight --------------------------------------------------------------------------

/// The blocks' scales, either plain, or codes into a map times the groups' scales plus an offset.
struct Scales {
    const u8 *codes; // null: plain
    const float *scales, *map;
    float offset;
};

/// The scale of the block that element i is in; rounded twice, as on the CPU.
__device__ __forceinline__ float block_scale(const Scales &s, i64 i) {
    i64 block = i / 64;
    return s.codes ? __fadd_rn(__fmul_rn(s.map[s.codes[block]], s.scales[block / 256]), s.offset) : s.scales[block];
}

#define NF4_BITS                                                                                                       \
    {0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f, 0xbdba7871, 0x00000000,                   \
     0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000}

/// Puts the 16 values into shared memory: in as many banks, so that any codes are read at once.
__device__ __forceinline__ void load_codebook(float *codebook) {
    const u32 bits[16] = NF4_BITS;
#pragma unroll
    for (int i = 0; i < 16; i++) {
        if ((int)threadIdx.x == i) {
            codebook[i] = __uint_as_float(bits[i]);
        }
    }
    __syncthreads();
}

// ---- sums, always in the same order -----------------------------------------------------------------------------------

template <class S> __device__ __forceinline__ S warp_sum(S x) {
    for (int step = 16; step > 0; step /= 2) {
        x += __shfl_xor_sync(FULL_WARP, x, step);
    }
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
    for (int step = 16; step > 0; step /= 2) {
        float other = __shfl_xor_sync(FULL_WARP, x, step);
        x = other > x || other != other ? other : x; // a NaN stays
    }
    return x;
}

/// The sum over the block's threads, of which there are a multiple of 32, to all of them.
template <class S> __device__ __forceinline__ S block_sum(S x) {
    __shared__ S parts[32];
    __shared__ S total;
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) {
        parts[threadIdx.x / 32] = x;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        S sum = 0;
        for (int w = 0; w < (int)blockDim.x / 32; w++) {
            sum += parts[w];
        }
        total = sum;
    }
    __syncthreads();
    S result = total;
    __syncthreads(); // the next sum may come at once
    return result;
}

/// The largest over the block's threads, NaN if one is, to all of them.
__device__ __forceinline__ float block_max(float x) {
    __shared__ float parts[32];
    x = warp_max(x);
    if (threadIdx.x % 32 == 0) {
        parts[threadIdx.x / 32] = x;
    }
    __syncthreads();
    float result = warp_max(threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : -INFINITE);
    __syncthreads();
    return result;
}

/// This thread's number in the whole grid.
__device__ __forceinline__ i64 global_thread() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
