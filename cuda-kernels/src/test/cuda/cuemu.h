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
// What it cannot show: speed, real rounding inside tensor cores, warps that run at the same time, TMA.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
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
constexpr size_t SHARED_ALIGNMENT = 1024;

// ---- fibres ----------------------------------------------------------------------------------------------------------

// Threads that wait for each other: those of a block, or of a warp. Threads that have ended no longer count.
struct Barrier {
    unsigned arrived = 0, generation = 0, live = 0;
};

// A copy that a thread began: it may be done at once, or as late as when it is waited for.
struct Copy {
    char *to;
    const char *from;
    unsigned bytes, group;
    bool there;
};

// Part of a warpgroup's product, which a warp does together: at once, or as late as when it is waited for.
struct Work {
    std::function<void()> run;
    unsigned group;
};

struct Fibre {
    ucontext_t start;
    jmp_buf resume;
    bool started = false, done = false;
    dim3 index;           // threadIdx
    unsigned rank = 0;    // in the block
    const char *waitsFor = "";
    std::vector<Copy> copies; // not done yet
    unsigned copyGroups = 0;  // ended ones
    std::vector<Work> products; // of its warpgroup, not done yet
    unsigned productGroups = 0; // ended ones
    std::unique_ptr<char[]> stack;
};

inline Fibre fibres[MOST_THREADS];
inline Fibre *current;
inline Barrier blockBarrier, warpBarriers[MOST_THREADS / WARP];
inline jmp_buf scheduler;
inline bool progress;    // since the scheduler's last round
inline int order;        // 0 ascending, 1 descending, otherwise a permutation; copies are late in 0, products in all but 1
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
inline void leaveFibre() {
    static void *fake;
    __sanitizer_start_switch_fiber(&fake, schedulerStack, schedulerBytes);
}
inline void leftFibre() { __sanitizer_finish_switch_fiber(schedulerFake, nullptr, nullptr); }
#else
inline void enterFibre(Fibre &) {}
inline void enteredFibre() {}
inline void leaveFibre() {}
inline void leftFibre() {}
#endif

inline void giveWay() {
    if (_setjmp(current->resume) == 0) {
        leaveFibre();
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

// A fibre runs its thread of one block after the other: to make a new one each time would cost more than most threads do.
inline void runFibre() {
    enteredFibre();
    for (;;) {
        body(bodyArgument);
        current->done = true;
        progress = true;
        leave(blockBarrier);
        leave(myWarp());
        giveWay();
    }
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
        f.done = false;
        f.rank = i;
        f.copies.clear();
        f.copyGroups = 0;
        f.products.clear();
        f.productGroups = 0;
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
            for (Fibre &f : fibres) {
                f.started &= f.done; // the others are stuck where they are
            }
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
        dynamicShared.assign(sharedBytes + SHARED_ALIGNMENT, (char)0xFF); // NaN, in every type
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
    return (char *)(((uintptr_t)dynamicShared.data() + SHARED_ALIGNMENT - 1) / SHARED_ALIGNMENT * SHARED_ALIGNMENT);
}

// ---- what a warp does together ----------------------------------------------------------------------------------------

// What the lanes of a warp show each other. There are two of them, taken in turns, so that one wait is enough: who shows
// something anew has seen all others arrive, and so read, the time before.
struct Shown {
    uint64_t values[WARP];
    float left[16][16], right[8][16]; // operands of mma.sync, the right one by its columns
};

inline Shown shown[2][MOST_THREADS / WARP];

// This warp's; the same one until it has waited.
inline Shown &myWarpShows() { return shown[myWarp().generation % 2][current->rank / WARP]; }

template <class T> T shuffle(T value, unsigned lane) {
    Shown &warp = myWarpShows();
    memcpy(&warp.values[current->rank % WARP], &value, sizeof value);
    wait(myWarp(), "__shfl_sync");
    T result;
    memcpy(&result, &warp.values[lane % WARP], sizeof result);
    return result;
}

inline unsigned ballot(int predicate) {
    Shown &warp = myWarpShows();
    unsigned vote = predicate != 0, votes = 0;
    memcpy(&warp.values[current->rank % WARP], &vote, sizeof vote);
    wait(myWarp(), "__ballot_sync");
    for (unsigned lane = 0; lane < WARP; lane++) {
        memcpy(&vote, &warp.values[lane], sizeof vote);
        votes |= vote << lane;
    }
    return votes;
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
inline unsigned __ballot_sync(unsigned, int predicate) { return cuemu::ballot(predicate); }
inline int __ffs(unsigned x) { return __builtin_ffs((int)x); }
template <class T> T __ldg(const T *p) { return *p; }

inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
inline float __fmul_rn(float x, float y) { return x * y; } // built with -ffp-contract=off
inline float __fadd_rn(float x, float y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __ddiv_rn(double x, double y) { return x / y; }

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

namespace cuemu {

// This lane's part of a left operand of 16×16, in PTX's layout of fragments.
inline void showLeft(Shown &warp, const uint32_t a[4]) {
    unsigned row = current->rank % WARP / 4, column = current->rank % 4 * 2;
    for (int i = 0; i < 4; i++) {
        float *to = &warp.left[row + i % 2 * 8][column + i / 2 * 8];
        to[0] = bfloat(a[i], 0);
        to[1] = bfloat(a[i], 1);
    }
}

} // namespace cuemu

// mma.sync.m16n8k16: every lane shows its registers, then computes its own four results.
inline void mma_m16n8k16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    using namespace cuemu;
    unsigned group = current->rank % WARP / 4, within = current->rank % 4;
    Shown &warp = myWarpShows();
    showLeft(warp, a);
    for (int i = 0; i < 4; i++) {
        warp.right[group][2 * within + i % 2 + i / 2 * 8] = bfloat(b[i / 2], i % 2);
    }
    wait(myWarp(), "mma.sync");
    const float *upper = warp.left[group], *lower = warp.left[group + 8];
    const float *first = warp.right[2 * within], *second = warp.right[2 * within + 1];
    for (int k = 0; k < 16; k++) {
        d[0] += upper[k] * first[k];
        d[1] += upper[k] * second[k];
        d[2] += lower[k] * first[k];
        d[3] += lower[k] * second[k];
    }
}

// ---- tiles: see common.cuh --------------------------------------------------------------------------------------------

#define WARPGROUPS

inline uint32_t shared_address(const void *p) { return (uint32_t)((const char *)p - cuemu::dynamicSharedMemory()); }

namespace cuemu {

template <class T> void copy(const Copy &c) { *(T *)c.to = c.there ? *(const T *)c.from : T{}; }

inline void perform(const Copy &c) { c.bytes == 16 ? copy<uint4>(c) : copy<unsigned>(c); }

inline void copyAsync(uint32_t to, const void *from, unsigned bytes, bool there) {
    Copy c{dynamicSharedMemory() + to, (const char *)from, bytes, current->copyGroups, there};
    if (order != 0) {
        perform(c);
    } else {
        current->copies.push_back(c);
    }
}

template <bool TRANSPOSED> void loadMatrices(uint32_t m[4], uint32_t row) {
    unsigned lane = current->rank % WARP;
    Shown &warp = myWarpShows();
    warp.values[lane] = row;
    wait(myWarp(), "ldmatrix");
    for (unsigned i = 0; i < 4; i++) {
        uint16_t pair[2];
        for (unsigned k = 0; k < 2; k++) {
            unsigned r = TRANSPOSED ? 2 * (lane % 4) + k : lane / 4, column = TRANSPOSED ? lane / 4 : 2 * (lane % 4) + k;
            pair[k] = ((const uint16_t *)(dynamicSharedMemory() + warp.values[8 * i + r]))[column];
        }
        m[i] = pair[0] | (uint32_t)pair[1] << 16;
    }
}

// Element (row, column) of an operand that `tile_of_products` describes; rows are of 64 elements.
inline float ofTile(uint64_t tile, unsigned row, unsigned column) {
    uint32_t start = (tile & 0x3fff) << 4, panel = (tile >> 16 & 0x3fff) << 4, eightRows = (tile >> 32 & 0x3fff) << 4;
    uint32_t at = start + column / 64 * panel + row / 8 * eightRows + row % 8 * 128 + column % 64 * 2;
    at ^= (at >> 7 & 7) << 4;
    return bfloat(*(const uint16_t *)(dynamicSharedMemory() + at), 0);
}

// The right operand of a warp's wgmma, by its columns: read by all lanes together.
inline float columns[MOST_THREADS / WARP][256][16];

// `upper`, `lower`: the two rows of this lane, 16 columns each.
template <int N, int BY_ROWS>
void multiplyTile(float d[N / 8][4], const float *upper, const float *lower, uint64_t b, int add) {
    unsigned lane = current->rank % WARP;
    float(*column)[16] = columns[current->rank / WARP];
    for (unsigned n = lane; n < N; n += WARP) {
        for (int k = 0; k < 16; k++) {
            column[n][k] = BY_ROWS ? ofTile(b, k, n) : ofTile(b, n, k);
        }
    }
    wait(myWarp(), "wgmma");
    for (int n = 0; n < N / 8; n++) {
        const float *first = column[8 * n + 2 * (lane % 4)], *second = first + 16;
        float sums[4] = {};
        std::copy(d[n], d[n] + (add ? 4 : 0), sums);
        for (int k = 0; k < 16; k++) {
            sums[0] += upper[k] * first[k];
            sums[1] += upper[k] * second[k];
            sums[2] += lower[k] * first[k];
            sums[3] += lower[k] * second[k];
        }
        std::copy(sums, sums + 4, d[n]);
    }
    wait(myWarp(), "wgmma");
}

} // namespace cuemu

inline void copy16_async(uint32_t to, const void *from, bool there) { cuemu::copyAsync(to, from, 16, there); }
inline void copy4_async(uint32_t to, const void *from, bool there) { cuemu::copyAsync(to, from, 4, there); }
inline void end_of_copies() { cuemu::current->copyGroups++; }

template <int PENDING> void wait_for_copies() {
    std::vector<cuemu::Copy> &copies = cuemu::current->copies, left;
    for (const cuemu::Copy &c : copies) {
        if (c.group + PENDING < cuemu::current->copyGroups) {
            cuemu::perform(c);
        } else {
            left.push_back(c);
        }
    }
    copies = left;
}

inline void store_shared16(uint32_t to, uint4 v) { *(uint4 *)(cuemu::dynamicSharedMemory() + to) = v; }
inline void load_matrices(uint32_t m[4], uint32_t row) { cuemu::loadMatrices<false>(m, row); }
inline void load_transposed(uint32_t m[4], uint32_t row) { cuemu::loadMatrices<true>(m, row); }

inline uint32_t permute(uint32_t low, uint32_t high, uint32_t which) {
    uint64_t from = (uint64_t)high << 32 | low;
    uint32_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t digit = which >> 4 * i & 15, byte = (uint32_t)(from >> 8 * (digit & 7)) & 0xff;
        bytes |= (digit < 8 ? byte : byte & 0x80 ? 0xffu : 0) << 8 * i;
    }
    return bytes;
}

inline float power_of_two(float x) { return exp2f(x); }
inline float reciprocal(float x) { return 1 / x; }

inline void publish_to_products() {}
inline void begin_products() {}
inline void end_products() { cuemu::current->productGroups++; }

template <int PENDING> void wait_for_products() {
    std::vector<cuemu::Work> &all = cuemu::current->products, left;
    for (const cuemu::Work &work : all) {
        if (work.group + PENDING < cuemu::current->productGroups) {
            work.run();
        } else {
            left.push_back(work);
        }
    }
    all = left;
}

namespace cuemu {

inline void beginProduct(std::function<void()> run) {
    if (order == 1) {
        run();
    } else {
        current->products.push_back({run, current->productGroups});
    }
}

} // namespace cuemu

template <int COUNT> void settled(float (*)[4]) {}
template <int COUNT> void held(uint32_t (*)[4]) {}

template <int N, int BY_ROWS> void warpgroup_mma(float (*d)[4], const uint32_t a[4], uint64_t b, int add) {
    std::array<uint32_t, 4> registers = {a[0], a[1], a[2], a[3]};
    cuemu::beginProduct([=] {
        using namespace cuemu;
        Shown &warp = myWarpShows();
        showLeft(warp, registers.data());
        wait(myWarp(), "wgmma");
        unsigned row = current->rank % WARP / 4;
        multiplyTile<N, BY_ROWS>(d, warp.left[row], warp.left[row + 8], b, add);
    });
}

template <int N, int BY_ROWS, int A_BY_COLUMNS = 0> void warpgroup_mma(float (*d)[4], uint64_t a, uint64_t b, int add) {
    cuemu::beginProduct([=] {
        using namespace cuemu;
        unsigned row = current->rank / 32 % 4 * 16 + current->rank % 32 / 4;
        float rows[2][16];
        for (int k = 0; k < 16; k++) {
            rows[0][k] = A_BY_COLUMNS ? ofTile(a, k, row) : ofTile(a, row, k);
            rows[1][k] = A_BY_COLUMNS ? ofTile(a, k, row + 8) : ofTile(a, row + 8, k);
        }
        multiplyTile<N, BY_ROWS>(d, rows[0], rows[1], b, add);
    });
}

// Barriers in shared memory: who is still expected this phase, how many are a phase, and the phase's number.
namespace cuemu {
struct Phases {
    uint16_t expected, count;
    uint32_t phase;
};
inline Phases &phases(unsigned long long *barrier) { return *(Phases *)barrier; }
} // namespace cuemu

inline void begin_phases(unsigned long long *barrier, int count) { cuemu::phases(barrier) = {(uint16_t)count, (uint16_t)count, 0}; }

inline void arrive(unsigned long long *barrier) {
    cuemu::Phases &at = cuemu::phases(barrier);
    if (--at.expected == 0) {
        at.expected = at.count;
        at.phase++;
        cuemu::progress = true;
    }
}

inline void wait_for_phase(unsigned long long *barrier, unsigned phase) {
    cuemu::current->waitsFor = "mbarrier";
    while (cuemu::phases(barrier).phase % 2 == phase) {
        cuemu::giveWay();
    }
}

template <int COUNT> void fewer_registers() {}
template <int COUNT> void more_registers() {}
