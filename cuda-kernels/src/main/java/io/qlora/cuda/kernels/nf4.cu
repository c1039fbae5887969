// 4-bit NormalFloat: the codec. Formulas: io.qlora.nf4.Nf4.

/// The code of a scaled element: how many midpoints between neighbouring values are below it. NaN gets 15.
__device__ __forceinline__ int nf4_code(float x) {
    const u32 bits[16] = NF4_BITS;
    int code = 0;
#pragma unroll
    for (int i = 0; i < 15; i++) {
        float midpoint = (__uint_as_float(bits[i]) + __uint_as_float(bits[i + 1])) / 2;
        code += x <= midpoint ? 0 : 1;
    }
    return code;
}

__device__ __forceinline__ float divisor(float absmax) { return absmax < 1e-38f ? 1e-38f : absmax; } // keeps a NaN

// Codes and scales of blocks of 64, a warp a block, two elements a lane.  grid: ceil(B / 8)
extern "C" __global__ void __launch_bounds__(256) nf4_quantize(const void *source, int type, u8 *codes, float *absmax, i64 n) {
    i64 block = (i64)blockIdx.x * 8 + threadIdx.x / 32, i = 64 * block + 2 * (threadIdx.x % 32);
    if (64 * block >= n) {
        return;
    }
    float first = i < n ? load(source, type, i) : 0, second = i + 1 < n ? load(source, type, i + 1) : 0;
    float a = fabsf(first), b = fabsf(second);
    float largest = warp_max(b > a || b != b ? b : a);
    if (threadIdx.x % 32 == 0) {
        absmax[block] = largest;
    }
    float by = divisor(largest);
    bool whole = 64 * block + 64 <= n; // as the reference: a short block divides
    int high = nf4_code(whole ? first * (1 / by) : first / by);
    int low = i + 1 >= n ? 7 : nf4_code(whole ? second * (1 / by) : second / by); // an odd last element is followed by a zero
    if (i < n) {
        codes[i / 2] = (u8)(high << 4 | low);
    }
}
CUEMU_EXPORT(nf4_quantize)

// Codes of scales in groups of 256, a block a group.  grid: ceil(B / 256)
extern "C" __global__ void __launch_bounds__(256)
    nf4_quantize_absmax(const float *absmax, float offset, const float *map, u8 *codes, float *absmax2, i64 blocks) {
    i64 i = global_thread();
    float centred = i < blocks ? absmax[i] - offset : 0;
    float largest = block_max(fabsf(centred));
    if (threadIdx.x == 0) {
        absmax2[blockIdx.x] = largest;
    }
    float x = centred / divisor(largest);
    int code = 0;
    for (int bit = 128; bit > 0; bit /= 2) { // as many midpoints as are below x
        double midpoint = ((double)map[code + bit - 1] + map[code + bit]) / 2;
        code += x <= midpoint ? 0 : bit;
    }
    if (i < blocks) {
        codes[i] = (u8)code;
    }
}
CUEMU_EXPORT(nf4_quantize_absmax)

__constant__ const u32 nf4_bits[16] = NF4_BITS;

/// Codes [i, i + 8), zeros from n on.
template <bool WHOLE> __device__ __forceinline__ u32 eight_codes(const u8 *codes, i64 i, i64 n) {
    if (WHOLE || i + 8 <= n) {
        return *(const u32 *)(codes + i / 2);
    }
    u32 eight = 0;
    for (int k = 0; k < 8 && i + k < n; k += 2) {
        eight |= (u32)codes[(i + k) / 2] << 4 * k;
    }
    return eight;
}

// w'[i] = value[code] · scale. Moves 2.5 bytes an element of bfloat16, four fifths of them written, and is to run as a copy does:
// a warp's stores are of 16 bytes a lane and adjacent, its loads of four, and PIECES of them are under way before the first is
// used. Decoding takes about 8 instructions an element, where there is time for 17.  grid: ceil(n / (2048 · PIECES))
#define PIECES 4

/// The block's pieces from element `first` on: all of them are there if WHOLE, and no load waits for another's condition.
template <bool WHOLE, class T>
__device__ __forceinline__ void dequantize_pieces(const u8 *codes, const Scales &scales, T *values, i64 first, i64 n) {
    __shared__ float codebook[16]; // in as many banks, so that any codes are looked up at once
    u32 eights[PIECES];
    RawScale raw[PIECES];
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) {
        i64 i = first + piece * 2048;
        eights[piece] = eight_codes<WHOLE>(codes, i, n);
        raw[piece] = fetch_scale(scales, WHOLE || i < n ? (u32)(i >> 6) : 0);
    }
    if (threadIdx.x < 16) {
        codebook[threadIdx.x] = __uint_as_float(nf4_bits[threadIdx.x]);
    }
    __syncthreads();
    float scale[PIECES];
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) {
        scale[piece] = scale_of(scales, raw[piece]);
    }
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) {
        float v[8];
#pragma unroll
        for (int k = 0; k < 8; k += 2) {
            u32 pair = eights[piece] >> 4 * k;
            v[k] = codebook[pair >> 4 & 15] * scale[piece];
            v[k + 1] = codebook[pair & 15] * scale[piece];
        }
        if constexpr (WHOLE) {
            store8(values + first + piece * 2048, v);
        } else {
            store8(values, first + piece * 2048, n, v);
        }
    }
}

template <class T>
__device__ void nf4_dequantize(const u8 *codes, const u8 *scale_codes, const float *scales, const float *map, float offset, T *values,
                               i64 n) {
    Scales of = {scale_codes, scales, map, offset};
    i64 first = (i64)blockIdx.x * PIECES * 2048;
    if (first + PIECES * 2048 <= n && aligned(values)) {
        dequantize_pieces<true>(codes, of, values, first + 8 * threadIdx.x, n);
    } else {
        dequantize_pieces<false>(codes, of, values, first + 8 * threadIdx.x, n);
    }
}
ACTIVATION_KERNEL(nf4_dequantize, 256,
                  (const u8 *codes, const u8 *scale_codes, const float *scales, const float *map, float offset, T *values, i64 n),
                  (codes, scale_codes, scales, map, offset, values, n))
