// What all kernels share. Put in front of every .cu file by whoever compiles it (nvcc -include, NVRTC, g++). Kernels include
// nothing but the .cuh files here, which are put in their place: NVRTC brings no headers, and CUDA's own may not be redistributed.

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
    extern __shared__ __align__(1024) char dynamic_shared_memory[];                                                     \
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

// ---- tiles: copies to shared memory, fragments from there, products of warpgroups -------------------------------------

/// An address in dynamic shared memory, as the instructions below take it.
__device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

/// 16 bytes from global to shared memory, or zeros if not `there`; done when `wait_for_copies` says so.
__device__ __forceinline__ void copy16_async(u32 to, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}

/// The same of four bytes.
__device__ __forceinline__ void copy4_async(u32 to, const void *from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(there ? 4 : 0) : "memory");
}

/// Ends a group of this thread's copies.
__device__ __forceinline__ void end_of_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until no more than PENDING groups of this thread's copies are under way; a barrier tells the other threads.
template <int PENDING> __device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ void store_shared16(u32 to, uint4 v) {
    asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

/// Four 8×8 matrices of 16 bits, whose 32 rows the lanes point to; each lane gets the pair of row lane / 4 at 2·(lane % 4).
__device__ __forceinline__ void load_matrices(u32 m[4], u32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(row)
                 : "memory");
}

/// The same, each matrix transposed.
__device__ __forceinline__ void load_transposed(u32 m[4], u32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(row)
                 : "memory");
}

/// Four of the eight bytes of (high, low), by the hexadecimal digits of `which`; from 8 on, a byte of the sign of byte − 8.
__device__ __forceinline__ u32 permute(u32 low, u32 high, u32 which) {
    u32 bytes;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(low), "r"(high), "r"(which));
    return bytes;
}

/// 2ˣ to within two units in the last place; 0 for −∞.
__device__ __forceinline__ float power_of_two(float x) {
    asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
    return x;
}

/// 1 / x to within a unit in the last place.
__device__ __forceinline__ float reciprocal(float x) {
    asm("rcp.approx.ftz.f32 %0, %0;" : "+f"(x));
    return x;
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define WARPGROUPS // there is wgmma

// The fences around a warpgroup's products: what was written to its operands in shared memory is seen by them (each writer,
// before the barrier); what was written to registers is; the products so far are one group.
__device__ __forceinline__ void publish_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until no more than PENDING groups of products are under way.
template <int PENDING> __device__ __forceinline__ void wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/// Says that these sums are used only from here on: a wait alone orders memory, not registers.
template <int COUNT> __device__ __forceinline__ void settled(float sums[COUNT][4]) {
#pragma unroll
    for (int n = 0; n < COUNT; n++) {
        asm volatile("" : "+f"(sums[n][0]), "+f"(sums[n][1]), "+f"(sums[n][2]), "+f"(sums[n][3])::"memory");
    }
}

/// Says that a left operand in registers is theirs up to here: products read it until they have been waited for.
template <int COUNT> __device__ __forceinline__ void held(u32 w[COUNT][4]) {
#pragma unroll
    for (int n = 0; n < COUNT; n++) {
        asm volatile("" : "+r"(w[n][0]), "+r"(w[n][1]), "+r"(w[n][2]), "+r"(w[n][3])::"memory");
    }
}

#define SUM(n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define SUMS_32 SUM(0), SUM(1), SUM(2), SUM(3), SUM(4), SUM(5), SUM(6), SUM(7)
#define SUMS_64 SUMS_32, SUM(8), SUM(9), SUM(10), SUM(11), SUM(12), SUM(13), SUM(14), SUM(15)
#define SUMS_128                                                                                                       \
    SUMS_64, SUM(16), SUM(17), SUM(18), SUM(19), SUM(20), SUM(21), SUM(22), SUM(23), SUM(24), SUM(25), SUM(26), SUM(27), SUM(28),  \
        SUM(29), SUM(30), SUM(31)
#define NAMES_32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES_64                                                                                                       \
    NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,"    \
             "%57,%58,%59,%60,%61,%62,%63"
#define NAMES_128                                                                                                      \
    NAMES_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,"    \
             "%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define WGMMA(n, names, operands, add)                                                                                 \
    "{.reg .pred add; setp.ne.b32 add, " add ", 0;\n"                                                                  \
    "wgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" names "}, " operands ";}"

/// d += a·b, or d = a·b: a of 64×16 rows in a warpgroup's registers, 16 a warp, or in shared memory; b of 16×N there, by its
/// columns, or by its rows if BY_ROWS: see `tile_of_products`. Sums lie as those of N/8 times `mma_m16n8k16`.
template <int N, int BY_ROWS>
__device__ __forceinline__ void warpgroup_mma(float d[N / 8][4], const u32 a[4], u64 b, int add) {
    static_assert(N == 64 || N == 128, "no such wrapper");
    if constexpr (N == 64) {
        asm volatile(WGMMA("64", NAMES_32, "{%32,%33,%34,%35}, %36, add, 1, 1, %37", "%38")
                     : SUMS_32
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(BY_ROWS), "r"(add));
    } else {
        asm volatile(WGMMA("128", NAMES_64, "{%64,%65,%66,%67}, %68, add, 1, 1, %69", "%70")
                     : SUMS_64
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(BY_ROWS), "r"(add));
    }
}

/// The same of a in shared memory, there by its columns if A_BY_COLUMNS.
template <int N, int BY_ROWS, int A_BY_COLUMNS = 0>
__device__ __forceinline__ void warpgroup_mma(float d[N / 8][4], u64 a, u64 b, int add) {
    static_assert(N == 64 || N == 128 || N == 256, "no such wrapper");
    if constexpr (N == 64) {
        asm volatile(WGMMA("64", NAMES_32, "%32, %33, add, 1, 1, %34, %35", "%36")
                     : SUMS_32
                     : "l"(a), "l"(b), "n"(A_BY_COLUMNS), "n"(BY_ROWS), "r"(add));
    } else if constexpr (N == 128) {
        asm volatile(WGMMA("128", NAMES_64, "%64, %65, add, 1, 1, %66, %67", "%68")
                     : SUMS_64
                     : "l"(a), "l"(b), "n"(A_BY_COLUMNS), "n"(BY_ROWS), "r"(add));
    } else {
        asm volatile(WGMMA("256", NAMES_128, "%128, %129, add, 1, 1, %130, %131", "%132")
                     : SUMS_128
                     : "l"(a), "l"(b), "n"(A_BY_COLUMNS), "n"(BY_ROWS), "r"(add));
    }
}

// A barrier in shared memory that threads arrive at without waiting, `count` of them a phase; and are waited for, by others, in
// phase 0, 1, 0, …

__device__ __forceinline__ void begin_phases(u64 *barrier, int count) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}

__device__ __forceinline__ void arrive(u64 *barrier) {
    asm volatile("{.reg .b64 state; mbarrier.arrive.shared.b64 state, [%0];}" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void wait_for_phase(u64 *barrier, u32 phase) {
    asm volatile("{.reg .pred done;\n"
                 "again: mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@!done bra again;}" ::"r"(shared_address(barrier)),
                 "r"(phase)
                 : "memory");
}

// Moves registers from one warpgroup of a block to another: each has COUNT from here on.
template <int COUNT> __device__ __forceinline__ void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}
template <int COUNT> __device__ __forceinline__ void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}
#endif

#endif

/// Describes an operand of `warpgroup_mma` in shared memory, where eight rows of 128 bytes are swizzled: 16-byte chunk c of row
/// r lies where chunk c ^ r % 8 would. The next eight rows are 1024 bytes on; `panel` is how many bytes on the next 128 bytes
/// of all rows are, where b is by its rows and has more than 64 columns.
__device__ __forceinline__ u64 tile_of_products(u32 address, u32 panel) {
    return (u64)(address >> 4 & 0x3fff) | (u64)(panel >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

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

/// A number as an array of this type would hold it.
__device__ __forceinline__ float as_stored(const float *, float x) { return x; }
__device__ __forceinline__ float as_stored(const bf16 *, float x) { return low(bf16_pair(x, 0)); }

/// Sets an element, or adds to it.
template <class T> __device__ __forceinline__ void put(T *p, float x, int accumulate) {
    store(p, accumulate ? load(p) + x : x);
}

// Eight elements at a time, 16 or 32 bytes, where they are aligned and all there; what lies at or after `end` reads as 0.

__device__ __forceinline__ bool aligned(const void *p) { return ((u64)p & 15) == 0; }

__device__ __forceinline__ void load8(const bf16 *p, float v[8]) {
    uint4 w = *(const uint4 *)p;
    v[0] = low(w.x), v[1] = high(w.x), v[2] = low(w.y), v[3] = high(w.y);
    v[4] = low(w.z), v[5] = high(w.z), v[6] = low(w.w), v[7] = high(w.w);
}

__device__ __forceinline__ void load8(const float *p, float v[8]) {
    float4 a = *(const float4 *)p, b = *(const float4 *)(p + 4);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

__device__ __forceinline__ void load8(const bf16 *p, i64 i, i64 end, float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        load8(p + i, v);
    } else {
        for (int k = 0; k < 8; k++) {
            v[k] = i + k < end ? load(p + i + k) : 0;
        }
    }
}

__device__ __forceinline__ void load8(const float *p, i64 i, i64 end, float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        load8(p + i, v);
    } else {
        for (int k = 0; k < 8; k++) {
            v[k] = i + k < end ? p[i + k] : 0;
        }
    }
}

__device__ __forceinline__ void store8(bf16 *p, const float v[8]) {
    *(uint4 *)p = make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
}

__device__ __forceinline__ void store8(float *p, const float v[8]) {
    *(float4 *)p = make_float4(v[0], v[1], v[2], v[3]);
    *(float4 *)(p + 4) = make_float4(v[4], v[5], v[6], v[7]);
}

__device__ __forceinline__ void store8(bf16 *p, i64 i, i64 end, const float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        store8(p + i, v);
    } else {
        for (int k = 0; k < 8 && i + k < end; k++) {
            store(p + i + k, v[k]);
        }
    }
}

__device__ __forceinline__ void store8(float *p, i64 i, i64 end, const float v[8]) {
    if (i + 8 <= end && aligned(p + i)) {
        store8(p + i, v);
    } else {
        for (int k = 0; k < 8 && i + k < end; k++) {
            p[i + k] = v[k];
        }
    }
}

/// Eight elements of an array of F32, F16 or BF16.
__device__ __forceinline__ void load8(const void *p, int type, i64 i, i64 end, float v[8]) {
    if (type == BF16) {
        load8((const bf16 *)p, i, end, v);
    } else if (type == F32) {
        load8((const float *)p, i, end, v);
    } else {
        for (int k = 0; k < 8; k++) {
            v[k] = i + k < end ? load(p, type, i + k) : 0;
        }
    }
}

// The same in kernels that have a body for rows that are WHOLE, of a multiple of eight elements, and one for others: were it
// asked each time, one load would wait for another.

template <bool WHOLE, class T> __device__ __forceinline__ void load8(const T *p, i64 i, i64 end, float v[8]) {
    if constexpr (!WHOLE) {
        load8(p, i, end, v);
    } else if (i < end) {
        load8(p + i, v);
    } else {
        v[0] = v[1] = v[2] = v[3] = v[4] = v[5] = v[6] = v[7] = 0;
    }
}

template <bool WHOLE, class T> __device__ __forceinline__ void store8(T *p, i64 i, i64 end, const float v[8]) {
    if constexpr (!WHOLE) {
        store8(p, i, end, v);
    } else if (i < end) {
        store8(p + i, v);
    }
}

/// Sets eight elements, or adds to them.
template <bool WHOLE = false, class T> __device__ __forceinline__ void put8(T *p, i64 i, i64 end, float v[8], int accumulate) {
    if (accumulate) {
        float there[8];
        load8<WHOLE>(p, i, end, there);
        for (int k = 0; k < 8; k++) {
            v[k] += there[k];
        }
    }
    store8<WHOLE>(p, i, end, v);
}

// ---- NF4: see io.qlora.engine.tensor.Nf4Weight --------------------------------------------------------------------------

/// The blocks' scales, either plain, or codes into a map times the groups' scales plus an offset.
struct Scales {
    const u8 *codes; // null: plain
    const float *scales, *map;
    float offset;
};

/// A block's scale as it lies in memory. It takes two loads, one after the other: whoever has much to load begins all the first
/// ones, then asks for the scales.
struct RawScale {
    u32 code; // into the map, where there is one
    float scale; // its own, or its group's
};

/// Fetches the scale of a block, of which there are fewer than 2³².
__device__ __forceinline__ RawScale fetch_scale(const Scales &s, u32 block) {
    return s.codes ? RawScale{s.codes[block], s.scales[block / 256]} : RawScale{0, s.scales[block]};
}

/// A fetched scale; rounded twice, as on the CPU.
__device__ __forceinline__ float scale_of(const Scales &s, const RawScale &raw) {
    return s.codes ? __fadd_rn(__fmul_rn(s.map[raw.code], raw.scale), s.offset) : raw.scale;
}

/// The scale of the block that element i is in.
__device__ __forceinline__ float block_scale(const Scales &s, i64 i) { return scale_of(s, fetch_scale(s, (u32)(i >> 6))); }

#define NF4_BITS                                                                                                       \
    {0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f, 0xbdba7871, 0x00000000,                   \
     0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000}

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

// ---- random numbers: Philox4x32-10, as io.qlora.engine.ops.Philox --------------------------------------------------------

struct Words {
    u32 x0, x1, x2, x3;
};

/// The four words at a counter.
__device__ __forceinline__ Words philox(u32 x0, u32 x1, u32 x2, u32 x3, u32 k0, u32 k1) {
    for (int round = 0; round < 10; round++) {
        u32 high0 = __umulhi(0xD2511F53u, x0), low0 = 0xD2511F53u * x0;
        u32 high2 = __umulhi(0xCD9E8D57u, x2), low2 = 0xCD9E8D57u * x2;
        x0 = high2 ^ x1 ^ k0;
        x1 = low2;
        x2 = high0 ^ x3 ^ k1;
        x3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {x0, x1, x2, x3};
}
