// cuemu.h: runs CUDA C++ kernels on the CPU, so that they can be tested without a card.
//
//   g++ -std=c++17 -fPIC -shared -include cuemu.h -x c++ kernel.cu
//
// Every CUDA thread is a fibre with a stack of its own. Blocks run one after another, and the fibres of a block take turns:
// one runs until it has to wait for others (a barrier, a shuffle, mma.sync) or ends. What a kernel computes may not depend on
// the order in which fibres are resumed, so there are several (`cuemu_order`), and results must agree in all of them: that
// shows a missing __syncthreads. A barrier that not all threads reach ends as an error, not as a hang. Built with
// -fsanitize=address,alignment, accesses out of bounds or misaligned are reported with their line.
//
// What it cannot show: speed, real rounding inside tensor cores, warps that run at the same time, wgmma, TMA.
#pragma once

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#define CUEMU 1

// ---- the language ----------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static // blocks run one after another: what is one per function is one per block

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::max;
using std::min;

namespace cuemu {

constexpr unsigned WARP = 32;
constexpr unsigned MOST_THREADS = 1024;
constexpr size_t STACK_BYTES = 256 << 10;

// ---- fibres ----------------------------------------------------------------------------------------------------------

// Threads that wait for each other: those of a block, or of a warp. Threads that have ended no longer count.
struct Barrier {
    unsigned arrived = 0, generation = 0, live = 0;
};

struct Fibre {
    ucontext_t start;
    jmp_buf resume;
    bool started = false, done = false;
    dim3 index;           // threadIdx
    unsigned rank = 0;    // in the block
    const char *waitsFor = "";
    std::unique_ptr<char[]> stack;
};

inline Fibre fibres[MOST_THREADS];
inline Fibre *current;
inline Barrier blockBarrier, warpBarriers[MOST_THREADS / WARP];
inline jmp_buf scheduler;
inline bool progress;    // since the scheduler's last round
inline int order;        // 0 ascending, 1 descending, otherwise a permutation
inline dim3 grid, block, blockIndex;
inline std::vector<char> dynamicShared;
inline char error[256];
inline void (*body)(void *);
inline void *bodyArgument;

#ifdef __SANITIZE_ADDRESS__
// AddressSanitizer has to know which stack runs.
inline void *schedulerFake;
inline const void *schedulerStack;
inline size_t schedulerBytes;
inline void enterFibre(Fibre &f) { __sanitizer_start_switch_fiber(&schedulerFake, f.stack.get(), STACK_BYTES); }
inline void enteredFibre() { __sanitizer_finish_switch_fiber(nullptr, &schedulerStack, &schedulerBytes); }
inline void leaveFibre(bool forever) {
    static void *fake;
    __sanitizer_start_switch_fiber(forever ? nullptr : &fake, schedulerStack, schedulerBytes);
}
inline void leftFibre() { __sanitizer_finish_switch_fiber(schedulerFake, nullptr, nullptr); }
#else
inline void enterFibre(Fibre &) {}
inline void enteredFibre() {}
inline void leaveFibre(bool) {}
inline void leftFibre() {}
#endif

inline void giveWay() {
    if (_setjmp(current->resume) == 0) {
        leaveFibre(false);
        _longjmp(scheduler, 1);
    }
    enteredFibre();
}

inline void open(Barrier &barrier) {
    barrier.arrived = 0;
    barrier.generation++;
    progress = true;
}

inline void wait(Barrier &barrier, const char *name) {
    unsigned generation = barrier.generation;
    current->waitsFor = name;
    if (++barrier.arrived >= barrier.live) {
        open(barrier);
    }
    while (barrier.generation == generation) {
        giveWay();
    }
}

inline void leave(Barrier &barrier) {
    if (--barrier.live > 0 && barrier.arrived >= barrier.live) {
        open(barrier);
    }
}

inline Barrier &myWarp() { return warpBarriers[current->rank / WARP]; }

inline void runFibre() {
    enteredFibre();
    body(bodyArgument);
    current->done = true;
    progress = true;
    leave(blockBarrier);
    leave(myWarp());
    leaveFibre(true);
    _longjmp(scheduler, 1);
}

// Has one fibre run until it waits or ends.
inline void resume(Fibre &f) {
    current = &f;
    if (_setjmp(scheduler) == 0) {
        enterFibre(f);
        if (f.started) {
            _longjmp(f.resume, 1);
        }
        f.started = true;
        getcontext(&f.start);
        f.start.uc_stack.ss_sp = f.stack.get();
        f.start.uc_stack.ss_size = STACK_BYTES;
        f.start.uc_link = nullptr;
        makecontext(&f.start, runFibre, 0);
        setcontext(&f.start);
    }
    leftFibre();
}

inline unsigned place(unsigned k, unsigned n) {
    return order == 0 ? k : order == 1 ? n - 1 - k : (unsigned)((k * 2654435761ull + order) % n);
}

// Runs one block; false if its threads wait for each other for ever.
inline bool runBlock(unsigned threads) {
    blockBarrier = Barrier{0, 0, threads};
    for (unsigned w = 0; w * WARP < threads; w++) {
        warpBarriers[w] = Barrier{0, 0, std::min(WARP, threads - w * WARP)};
    }
    for (unsigned i = 0; i < threads; i++) {
        Fibre &f = fibres[i];
        f.started = f.done = false;
        f.rank = i;
        f.index = dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
        if (!f.stack) {
            f.stack.reset(new char[STACK_BYTES]);
        }
    }
    for (;;) {
        unsigned left = 0;
        progress = false;
        for (unsigned k = 0; k < threads; k++) {
            Fibre &f = fibres[place(k, threads)];
            if (!f.done) {
                resume(f);
                left += !f.done;
            }
        }
        if (left == 0) {
            return true;
        }
        if (!progress) {
            snprintf(error, sizeof error, "in block (%u, %u, %u) thread %u waits at %s for threads that never come",
                     blockIndex.x, blockIndex.y, blockIndex.z, current->rank, current->waitsFor);
            return false;
        }
    }
}

template <class Body> const char *launch(dim3 blocks, dim3 threads, size_t sharedBytes, Body &&call) {
    grid = blocks;
    block = threads;
    body = [](void *f) { (*static_cast<std::remove_reference_t<Body> *>(f))(); };
    bodyArgument = &call;
    unsigned count = blocks.x * blocks.y * blocks.z;
    for (unsigned k = 0; k < count; k++) {
        unsigned b = order == 1 ? count - 1 - k : k;
        blockIndex = dim3(b % blocks.x, b / blocks.x % blocks.y, b / (blocks.x * blocks.y));
        dynamicShared.assign(sharedBytes + 128, (char)0xFF); // NaN, in every type
        if (!runBlock(threads.x * threads.y * threads.z)) {
            return error;
        }
    }
    return nullptr;
}

template <class... A, size_t... I>
const char *launchErased(void (*kernel)(A...), const unsigned *d, size_t sharedBytes, void **arguments, std::index_sequence<I...>) {
    return launch(dim3(d[0], d[1], d[2]), dim3(d[3], d[4], d[5]), sharedBytes,
                  [&] { kernel(*(std::remove_cv_t<A> *)arguments[I]...); });
}

template <class... A>
const char *launchErased(void (*kernel)(A...), const unsigned *d, size_t sharedBytes, void **arguments) {
    return launchErased(kernel, d, sharedBytes, arguments, std::index_sequence_for<A...>{});
}

inline char *dynamicSharedMemory() {
    return (char *)(((uintptr_t)dynamicShared.data() + 127) / 128 * 128);
}

// ---- what a warp does together ----------------------------------------------------------------------------------------

inline uint64_t shuffled[MOST_THREADS];
inline uint32_t fragments[MOST_THREADS][6];

template <class T> T shuffle(T value, unsigned lane) {
    unsigned warp = current->rank / WARP * WARP;
    memcpy(&shuffled[current->rank], &value, sizeof value);
    wait(myWarp(), "__shfl_sync");
    T result;
    memcpy(&result, &shuffled[warp + lane % WARP], sizeof result);
    wait(myWarp(), "__shfl_sync");
    return result;
}

inline float bfloat(uint32_t pair, int high) {
    uint32_t bits = high ? pair & 0xffff0000u : pair << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace cuemu

// Makes a kernel callable from outside: null, or what went wrong.
#define CUEMU_EXPORT(kernel)                                                                                            \
    extern "C" const char *kernel##__launch(const unsigned *shape, size_t sharedBytes, void **arguments) {              \
        return cuemu::launchErased(kernel, shape, sharedBytes, arguments);                                              \
    }
extern "C" __attribute__((weak)) void cuemu_order(int order) { cuemu::order = order; }

// Device memory, taken here so that it is AddressSanitizer's where the library is built with it.
extern "C" __attribute__((weak)) void *cuemu_allocate(size_t bytes) {
    void *memory = nullptr;
    return posix_memalign(&memory, 256, bytes) == 0 ? memory : nullptr;
}
extern "C" __attribute__((weak)) void cuemu_free(void *memory) { free(memory); }

#define threadIdx (cuemu::current->index)
#define blockIdx (cuemu::blockIndex)
#define blockDim (cuemu::block)
#define gridDim (cuemu::grid)
#define DYNAMIC_SHARED(T, name) T *name = (T *)cuemu::dynamicSharedMemory()

inline void __syncthreads() { cuemu::wait(cuemu::blockBarrier, "__syncthreads"); }
inline void __syncwarp(unsigned = ~0u) { cuemu::wait(cuemu::myWarp(), "__syncwarp"); }
template <class T> T __shfl_sync(unsigned, T v, int lane) { return cuemu::shuffle(v, lane); }
template <class T> T __shfl_xor_sync(unsigned, T v, int mask) { return cuemu::shuffle(v, (cuemu::current->rank % 32) ^ mask); }
template <class T> T __ldg(const T *p) { return *p; }

inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
inline float __fmul_rn(float x, float y) { return x * y; } // built with -ffp-contract=off
inline float __fadd_rn(float x, float y) { return x + y; }

// ---- the PTX instructions that common.cuh wraps -----------------------------------------------------------------------

inline uint32_t bf16_pair(float low, float high) {
    auto round = [](float f) -> uint32_t {
        uint32_t bits = __float_as_uint(f);
        return f != f ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    };
    return round(low) | round(high) << 16;
}

inline float f16_to_f32(uint16_t bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return (float)half;
}

// mma.sync.m16n8k16 in PTX's layout of fragments: every lane publishes its registers, then computes its own four results.
inline void mma_m16n8k16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    using namespace cuemu;
    unsigned warp = current->rank / WARP * WARP, lane = current->rank % WARP, group = lane / 4, within = lane % 4;
    uint32_t *mine = fragments[current->rank];
    std::copy(a, a + 4, mine);
    std::copy(b, b + 2, mine + 4);
    wait(myWarp(), "mma.sync");
    for (int row = 0; row < 2; row++) {
        for (int col = 0; col < 2; col++) {
            float sum = d[2 * row + col];
            unsigned n = 2 * within + col;
            for (int k = 0; k < 16; k++) {
                const uint32_t *of_a = fragments[warp + group * 4 + k % 8 / 2];
                const uint32_t *of_b = fragments[warp + n * 4 + k % 8 / 2];
                sum += bfloat(of_a[(k >= 8 ? 2 : 0) + row], k & 1) * bfloat(of_b[4 + (k >= 8)], k & 1);
            }
            d[2 * row + col] = sum;
        }
    }
    wait(myWarp(), "mma.sync");
}
