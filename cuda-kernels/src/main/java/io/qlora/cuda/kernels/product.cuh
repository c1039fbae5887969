// What the kernels of the matrix product share: operands in memory, tiles of them in shared memory, the result.
//
//   nt: A [M, K], B [N, K]     y = x · Wᵀ
//   nn: A [M, K], B [K, N]     dx = dy · W
//   tn: A [K, M], B [K, N]     dW = dyᵀ · x
//
// A tile keeps the order that its operand has in memory, so that nothing is transposed on its way: `ldmatrix` and `wgmma` read
// it along either extent. Its lines are cut into panels of 64 elements, 128 bytes: a step of K, all banks of shared memory, and
// a block of NF4. In a panel, the 16-byte chunk c of line l lies where chunk c ^ l % 8 would: eight lines' chunks of one column
// are then in different banks. Hopper's tensor cores know this as the 128-byte swizzle.

#define DEPTH 64 // elements of K a step
#define LINE 128 // bytes of a panel's line

/// What a launch is given. C = scale · (A·B + scale2 · A2·B2), or added to C.
#define SLOT __align__(8) // as TileProduct writes it: eight bytes each
struct Product {
    SLOT const void *a;
    SLOT int a_type;
    SLOT const void *b;
    SLOT int b_type;
    SLOT const u8 *scale_codes; // of B in NF4
    SLOT const float *scales;
    SLOT const float *map;
    SLOT float offset;
    SLOT int depth; // K
    SLOT const void *a2;
    SLOT int a2_type;
    SLOT const void *b2;
    SLOT int b2_type;
    SLOT int depth2; // 0: no second term
    SLOT float scale;
    SLOT float scale2;
    SLOT void *c;
    SLOT int c_type;
    SLOT int accumulate;
    SLOT int rows; // M
    SLOT int cols; // N
    SLOT float *partials; // [splits, M, N], for sums over a part of K each; null where there is one part
    SLOT int part; // elements of K in a part
};

// ---- operands ---------------------------------------------------------------------------------------------------------

/// A matrix in memory, `cols` the length of its lines.
struct Operand {
    const void *data;
    int type, lines, cols;
    Scales scales; // of NF4
    bool wide; // lines are aligned multiples of eight elements
};

__device__ __forceinline__ Operand operand(const void *data, int type, int lines, int cols) {
    return {data, type, lines, cols, {}, cols % 8 == 0 && aligned(data)};
}

template <bool BY_K> __device__ __forceinline__ Operand left_of(const Product &p) {
    return operand(p.a, p.a_type, BY_K ? p.depth : p.rows, BY_K ? p.rows : p.depth);
}

template <bool BY_K> __device__ __forceinline__ Operand right_of(const Product &p) {
    Operand b = operand(p.b, p.b_type, BY_K ? p.depth : p.cols, BY_K ? p.cols : p.depth);
    b.scales = {p.scale_codes, p.scales, p.map, p.offset};
    return b;
}

template <bool BY_K> __device__ __forceinline__ Operand second_left_of(const Product &p) {
    return operand(p.a2, p.a2_type, BY_K ? p.depth2 : p.rows, BY_K ? p.rows : p.depth2);
}

template <bool BY_K> __device__ __forceinline__ Operand second_right_of(const Product &p) {
    return operand(p.b2, p.b2_type, BY_K ? p.depth2 : p.cols, BY_K ? p.cols : p.depth2);
}

/// Eight neighbours of a line as they lie in memory.
struct Raw {
    uint4 a, b;
};

__constant__ const u32 nf4_bits[16] = NF4_BITS;

__device__ __forceinline__ float element(const Operand &m, i64 i) {
    if (m.type == NF4) {
        u32 pair = ((const u8 *)m.data)[i / 2];
        return __uint_as_float(nf4_bits[i % 2 == 0 ? pair >> 4 : pair & 15]) * block_scale(m.scales, i);
    }
    return load(m.data, m.type, i);
}

/// Fetches elements [col, col + 8) of a line, of any type; zeros outside of the matrix.
__device__ __forceinline__ Raw fetch(const Operand &m, int line, int col) {
    Raw raw = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    if (line >= m.lines || col >= m.cols) {
        return raw;
    }
    i64 i = (i64)line * m.cols + col;
    if (!m.wide || m.type == NF4) { // one by one, rounded at once and shifted in from the top
#pragma unroll 1
        for (int k = 0; k < 8; k++) {
            u32 bits = col + k < m.cols ? bf16_pair(0, element(m, i + k)) : 0;
            raw.a.x = raw.a.x >> 16 | raw.a.y << 16, raw.a.y = raw.a.y >> 16 | raw.a.z << 16;
            raw.a.z = raw.a.z >> 16 | raw.a.w << 16, raw.a.w = raw.a.w >> 16 | bits;
        }
    } else if (m.type == F32) {
        raw.a = *(const uint4 *)((const float *)m.data + i);
        raw.b = *(const uint4 *)((const float *)m.data + i + 4);
    } else {
        raw.a = *(const uint4 *)((const u16 *)m.data + i);
    }
    return raw;
}

__device__ __forceinline__ u32 round_pair(u32 low, u32 high) { return bf16_pair(__uint_as_float(low), __uint_as_float(high)); }

__device__ __forceinline__ u32 round_halves(u32 pair) {
    return bf16_pair(f16_to_f32((u16)pair), f16_to_f32((u16)(pair >> 16)));
}

/// The fetched elements rounded to bfloat16.
__device__ __forceinline__ uint4 rounded(const Operand &m, const Raw &raw) {
    if (!m.wide || m.type == BF16 || m.type == NF4) {
        return raw.a;
    }
    if (m.type == F32) {
        return make_uint4(round_pair(raw.a.x, raw.a.y), round_pair(raw.a.z, raw.a.w), round_pair(raw.b.x, raw.b.y),
                          round_pair(raw.b.z, raw.b.w));
    }
    return make_uint4(round_halves(raw.a.x), round_halves(raw.a.y), round_halves(raw.a.z), round_halves(raw.a.w));
}

// ---- a block of NF4 ---------------------------------------------------------------------------------------------------

// Decoding without a table in memory, since shared memory is what a product is short of: a block's 16 possible values are
// scaled and rounded once, and kept as bytes in eight registers; byte permutations look four codes up at a time. That makes
// about 3 instructions an element, a third of what the tensor cores leave idle for a tile of 256 rows.

/// The 64 codes of a block, and its scale; on their way.
struct Codes {
    uint4 first, second;
    RawScale scale;
};

/// Fetches the block that begins at element i; if it is not there, anything finite: the other operand has zeros for it, or nobody
/// wants the sum.
__device__ __forceinline__ Codes fetch_codes(const Operand &m, i64 i, bool there) {
    Codes codes = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0}};
    if (there) {
        const uint4 *from = (const uint4 *)((const u8 *)m.data + i / 2);
        codes.first = from[0], codes.second = from[1];
        codes.scale = fetch_scale(m.scales, (u32)(i >> 6));
    }
    return codes;
}

/// A block's 16 values in bfloat16: their lower and their upper bytes, four to a register.
struct Values {
    u32 low[4], high[4];
};

__device__ __forceinline__ Values scaled_values(float scale) {
    const u32 bits[16] = NF4_BITS;
    Values v;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u32 first = bf16_pair(__uint_as_float(bits[4 * i]) * scale, __uint_as_float(bits[4 * i + 1]) * scale);
        u32 second = bf16_pair(__uint_as_float(bits[4 * i + 2]) * scale, __uint_as_float(bits[4 * i + 3]) * scale);
        v.low[i] = permute(first, second, 0x6420), v.high[i] = permute(first, second, 0x7531);
    }
    return v;
}

/// Bytes of the 16 in `table` by the four codes at the bottom of `codes`; `upper` has 0xff where a code is 8 or more.
__device__ __forceinline__ u32 look_up(const u32 table[4], u32 codes, u32 upper) {
    return (permute(table[0], table[1], codes) & ~upper) | (permute(table[2], table[3], codes) & upper);
}

/// Eight codes decoded. A byte's upper half is its first code.
__device__ __forceinline__ uint4 decode_eight(u32 codes, const Values &v) {
    u32 indices = codes & 0x77777777, shifted = codes << 4; // each code's top bit is the sign of a byte of one of the two
    u32 upper = permute(codes, shifted, 0x9d8c), upper2 = permute(codes, shifted, 0xbfae);
    u32 low = look_up(v.low, indices, upper), high = look_up(v.high, indices, upper);
    u32 low2 = look_up(v.low, indices >> 16, upper2), high2 = look_up(v.high, indices >> 16, upper2);
    return make_uint4(permute(low, high, 0x4051), permute(low, high, 0x6273), permute(low2, high2, 0x4051),
                      permute(low2, high2, 0x6273));
}

// ---- tiles in shared memory -------------------------------------------------------------------------------------------

/// Where 16 bytes of a tile are, whose panels have LINES lines: elements [column, column + 8), a multiple of eight.
template <int LINES> __device__ __forceinline__ u32 place(u32 line, u32 column) {
    return column / 64 * (LINES * LINE) + line * LINE + ((column % 64 / 8) ^ (line % 8)) * 16;
}

/// How an operand gets into shared memory.
enum Way {
    COPIED, // bfloat16 with wide lines: by cp.async, past the registers
    DECODED, // NF4 with lines of whole blocks: a thread a block
    ANY // all else, through registers, where it is rounded
};

/// LINES × WIDTH elements of an operand on their way to shared memory, shared among THREADS threads, of which this is number
/// `thread`: `begin` says from where and to where, `end` does what is left when they have come.
template <Way WAY, int LINES, int WIDTH, int THREADS> struct Transfer;

template <int LINES, int WIDTH, int THREADS> struct Transfer<COPIED, LINES, WIDTH, THREADS> {
    static constexpr int CHUNKS = WIDTH / 8, STEP = THREADS / CHUNKS; // lines that a pass of all threads takes

    __device__ __forceinline__ void begin(const Operand &m, int line, int col, u32 tile, int thread) {
        static_assert(LINES % STEP == 0, "as many lines in every pass");
        int mine = thread / CHUNKS, column = thread % CHUNKS * 8;
        const u16 *from = (const u16 *)m.data + (i64)(line + mine) * m.cols + col + column;
        int left = col + column < m.cols ? m.lines - line - mine : 0;
#pragma unroll
        for (int l = 0; l < LINES; l += STEP) {
            bool there = l < left;
            copy16_async(tile + place<LINES>(mine + l, column), there ? from : m.data, there);
            from += (i64)STEP * m.cols;
        }
    }

    __device__ __forceinline__ void end(const Operand &, u32, int) {}
};

template <int LINES, int WIDTH, int THREADS> struct Transfer<DECODED, LINES, WIDTH, THREADS> {
    static constexpr int BLOCKS = LINES * WIDTH / 64;
    Codes codes;

    __device__ __forceinline__ void begin(const Operand &m, int line, int col, u32, int thread) {
        static_assert(BLOCKS <= THREADS && WIDTH % 64 == 0, "a block a thread");
        int l = line + thread % LINES, c = col + thread / LINES * 64;
        codes = fetch_codes(m, (i64)l * m.cols + c, thread < BLOCKS && l < m.lines && c < m.cols);
    }

    __device__ __forceinline__ void end(const Operand &m, u32 tile, int thread) {
        if (thread >= BLOCKS) {
            return;
        }
        Values values = scaled_values(scale_of(m.scales, codes.scale));
        const u32 eights[8] = {codes.first.x,  codes.first.y,  codes.first.z,  codes.first.w,
                               codes.second.x, codes.second.y, codes.second.z, codes.second.w};
#pragma unroll
        for (int i = 0; i < 8; i++) {
            store_shared16(tile + place<LINES>(thread % LINES, thread / LINES * 64 + 8 * i), decode_eight(eights[i], values));
        }
    }
};

template <int LINES, int WIDTH, int THREADS> struct Transfer<ANY, LINES, WIDTH, THREADS> {
    static constexpr int CHUNKS = WIDTH / 8, EACH = (LINES * CHUNKS + THREADS - 1) / THREADS;
    Raw raw[EACH];

    __device__ __forceinline__ void begin(const Operand &m, int line, int col, u32, int thread) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int chunk = i * THREADS + thread;
            raw[i] = fetch(m, line + chunk / CHUNKS, col + chunk % CHUNKS * 8);
        }
    }

    __device__ __forceinline__ void end(const Operand &m, u32 tile, int thread) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            int chunk = i * THREADS + thread;
            if (EACH * THREADS == LINES * CHUNKS || chunk < LINES * CHUNKS) {
                store_shared16(tile + place<LINES>(chunk / CHUNKS, chunk % CHUNKS * 8), rounded(m, raw[i]));
            }
        }
    }
};

/// Puts a tile of any type into shared memory at once, a chunk after the other: for what is small, such as adapters. First what
/// there is of it, shared by all threads alike, each of which waits for its chunk; then zeros.
template <int LINES, int WIDTH, int THREADS>
__device__ __forceinline__ void put_down(const Operand &m, int line, int col, u32 tile, int thread) {
    constexpr int CHUNKS = WIDTH / 8; // of a line
    int lines = max(min(m.lines - line, LINES), 0), chunks = max(min((m.cols - col + 7) / 8, CHUNKS), 0);
#pragma unroll 1
    for (int chunk = thread; chunk < lines * chunks; chunk += THREADS) {
        int l = chunk / chunks, c = chunk % chunks * 8;
        store_shared16(tile + place<LINES>(l, c), rounded(m, fetch(m, line + l, col + c)));
    }
#pragma unroll 1
    for (int chunk = thread; chunk < LINES * CHUNKS; chunk += THREADS) {
        int l = chunk / CHUNKS, c = chunk % CHUNKS;
        if (l >= lines || c >= chunks) {
            store_shared16(tile + place<LINES>(l, 8 * c), make_uint4(0, 0, 0, 0));
        }
    }
}

// ---- the result -------------------------------------------------------------------------------------------------------

#define STRIP_STRIDE 40 // floats from row to row of a strip in shared memory, where it is 32 wide
#define STRIP_FLOATS (16 * STRIP_STRIDE)

/// Puts a warp's strip of 16 × 8·N sums, of mma's layout, to C at (row, col). It goes through shared memory of the warp's own, 32
/// columns at a time, so that a lane has eight neighbours, 16 bytes of bfloat16.
template <int N>
__device__ __forceinline__ void put_strip(const Product &p, const float sums[N][4], int row, int col, float *strip) {
    constexpr int WIDTH = N < 4 ? N : 4;
    static_assert(16 * WIDTH % 32 == 0, "as many eights for every lane");
    int lane = threadIdx.x % 32;
    float *pair = strip + lane / 4 * STRIP_STRIDE + lane % 4 * 2;
    bool all = p.partials == 0;
    void *c = all ? p.c : p.partials + (i64)blockIdx.z * p.rows * p.cols;
    int type = all ? p.c_type : F32, accumulate = all ? p.accumulate : 0;
    float scale = all ? p.scale : 1;
    bool wide = p.cols % 8 == 0 && aligned(c);
#pragma unroll 1
    for (int first = 0; first < N; first += WIDTH) {
#pragma unroll
        for (int n = 0; n < N; n++) {
            if (n / WIDTH * WIDTH == first) {
                *(float2 *)(pair + n % WIDTH * 8) = make_float2(sums[n][0], sums[n][1]);
                *(float2 *)(pair + n % WIDTH * 8 + 8 * STRIP_STRIDE) = make_float2(sums[n][2], sums[n][3]);
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < WIDTH / 2; i++) {
            int eight = 32 * i + lane, y = eight / WIDTH, x = eight % WIDTH * 8, at = col + 8 * first + x;
            float v[8];
            load8(strip + y * STRIP_STRIDE + x, v);
#pragma unroll
            for (int k = 0; k < 8; k++) {
                v[k] *= scale;
            }
            i64 line = (i64)(row + y) * p.cols;
            if (row + y >= p.rows) {
            } else if (wide && type == BF16) {
                put8<true>((bf16 *)c + line, at, p.cols, v, accumulate);
            } else if (type == BF16) {
                put8((bf16 *)c + line, at, p.cols, v, accumulate);
            } else if (wide) {
                put8<true>((float *)c + line, at, p.cols, v, accumulate);
            } else {
                put8((float *)c + line, at, p.cols, v, accumulate);
            }
        }
        __syncwarp();
    }
}
