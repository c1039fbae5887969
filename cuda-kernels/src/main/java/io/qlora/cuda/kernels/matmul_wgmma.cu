// The matrix product by Hopper's wgmma: see product.cuh for its forms. Of cards with sm_90a's instructions only.
//
// A block of three warpgroups stays on a multiprocessor and computes tiles of C, one after the other. The first warpgroup brings
// A and B into a ring of STAGES stages in shared memory, the other two multiply, each its half of the tile's rows; barriers say
// which stages are full, and which may be filled again. So copies, decoding and the next tile's first stages go on beside the
// tensor cores, which wait only while a tile is stored.
//
// A step of K, 64 deep, over 128 × 256 of C: 4.2 MFLOP, 1024 clocks of the tensor cores; 48 KiB copied to shared memory and, for
// two products of 64 × 256, 80 KiB read, together 128 B a clock, all that shared memory has. So a larger tile would gain, but
// its sums do not fit into registers; smaller ones lose. For x [4096, 4096] · W [14336, 4096]ᵀ that is 1792 tiles in 14 rounds
// of 132 blocks, 97 % of them busy, and 5.6 GB from L2.
//
// A weight in NF4 is decoded by the warpgroup that copies, 3 instructions an element (product.cuh). There the tile is 256 × 128:
// half as many codes a step, 8192, 400 clocks of the integer units beside 1024 of the tensor cores; but 144 B a clock of shared
// memory, which allows 89 % of their rate.
//
// A and B are copied by cp.async, not by TMA: it writes the same swizzled lines, and needs neither tensor maps, nor another path
// for codes and adapters. Its price is 24 instructions a thread and step in warps that have nothing else to do.
#include "product.cuh"

#ifdef WARPGROUPS

#define STAGES 4
#define BEHIND 2 // steps that copies have to arrive
#define GROUP 128 // threads of a warpgroup
#define BAND 2048 // rows of C whose tiles are computed at the same time, as many as columns: they share most of A and B in L2

template <int ROWS, int COLS, bool A_BY_K, bool B_BY_K, Way B_WAY> struct Warpgroups {
    static constexpr int A_LINES = A_BY_K ? DEPTH : ROWS, A_WIDTH = A_BY_K ? ROWS : DEPTH;
    static constexpr int B_LINES = B_BY_K ? DEPTH : COLS, B_WIDTH = B_BY_K ? COLS : DEPTH;
    static constexpr u32 A_BYTES = ROWS * LINE, STAGE = A_BYTES + COLS * LINE;
    static constexpr u32 PANEL = DEPTH * LINE; // from 64 of an operand by K to the next
    static constexpr int STRIPS = ROWS / 128;  // of 64 rows, a warpgroup
    static constexpr int FEWER = B_WAY == DECODED ? 104 : 56, MORE = (504 - FEWER) / 2; // registers, of the first and the others

    /// The tiles of C in the order they are computed, from this block's first.
    struct Tiles {
        int rows, cols, now, row, col;

        __device__ __forceinline__ explicit Tiles(const Product &p) {
            rows = (p.rows + ROWS - 1) / ROWS, cols = (p.cols + COLS - 1) / COLS, now = (int)blockIdx.x - (int)gridDim.x;
        }

        __device__ __forceinline__ bool next() {
            now += gridDim.x;
            int band = now / (BAND / ROWS * cols), high = min(BAND / ROWS, rows - band * (BAND / ROWS));
            if (now >= rows * cols) {
                return false;
            }
            int within = now % (BAND / ROWS * cols);
            row = (band * (BAND / ROWS) + within % high) * ROWS, col = within / high * COLS;
            return true;
        }
    };

    /// Where in the ring a warpgroup is: a stage, and the phase of its barriers.
    struct Place {
        u32 stage = 0, phase = 0;

        __device__ __forceinline__ void next() {
            stage = stage + 1 == STAGES ? 0 : stage + 1;
            phase ^= stage == 0;
        }
    };

    /// What the first warpgroup does.
    struct Copies {
        u32 tiles;
        u64 *full, *empty;
        Place now, behind;
        int under_way = 0; // steps that are not announced yet
        Transfer<COPIED, A_LINES, A_WIDTH, GROUP> to_a;
        Transfer<B_WAY, B_LINES, B_WIDTH, GROUP> to_b;

        __device__ __forceinline__ Copies(u32 tiles, u64 *full, u64 *empty) : tiles(tiles), full(full), empty(empty) {}

        __device__ __forceinline__ void run(const Product &p) {
            Operand a = left_of<A_BY_K>(p), b = right_of<B_BY_K>(p);
            for (Tiles tile(p); tile.next();) {
                if (B_WAY == DECODED) {
                    begin_b(b, tile, 0, 0);
                }
                second(p, tile);
                for (int k = 0; k < p.depth; k += DEPTH) {
                    wait_for_phase(empty + now.stage, now.phase ^ 1);
                    u32 stage = tiles + now.stage * STAGE;
                    to_a.begin(a, A_BY_K ? k : tile.row, A_BY_K ? tile.row : k, stage, threadIdx.x);
                    if (B_WAY == DECODED) {
                        auto codes = to_b;
                        begin_b(b, tile, k + DEPTH, 0); // the next step's, zeros after the last: on their way meanwhile
                        codes.end(b, stage + A_BYTES, threadIdx.x);
                    } else {
                        begin_b(b, tile, k, stage + A_BYTES);
                    }
                    announce();
                }
            }
            wait_for_copies<0>();
            publish_to_products();
            for (; under_way > 0; under_way--, behind.next()) {
                arrive(full + behind.stage);
            }
        }

        __device__ __forceinline__ void begin_b(const Operand &b, const Tiles &tile, int k, u32 to) {
            to_b.begin(b, B_BY_K ? k : tile.col, B_BY_K ? tile.col : k, to, threadIdx.x);
        }

        /// Brings the second term, of any types, as the tile's first steps.
        __device__ __forceinline__ void second(const Product &p, const Tiles &tile) {
            Operand a = second_left_of<A_BY_K>(p), b = second_right_of<B_BY_K>(p);
            for (int k = 0; k < p.depth2; k += DEPTH) {
                wait_for_phase(empty + now.stage, now.phase ^ 1);
                u32 stage = tiles + now.stage * STAGE;
                put_down<A_LINES, A_WIDTH, GROUP>(a, A_BY_K ? k : tile.row, A_BY_K ? tile.row : k, stage, threadIdx.x);
                put_down<B_LINES, B_WIDTH, GROUP>(b, B_BY_K ? k : tile.col, B_BY_K ? tile.col : k, stage + A_BYTES, threadIdx.x);
                announce();
            }
        }

        /// Ends a step, and says that the one BEHIND before it is there.
        __device__ __forceinline__ void announce() {
            end_of_copies();
            now.next();
            if (++under_way > BEHIND) {
                wait_for_copies<BEHIND>();
                publish_to_products();
                arrive(full + behind.stage);
                behind.next();
                under_way--;
            }
        }
    };

    /// What the others do.
    __device__ __forceinline__ static void multiply(const Product &p, u32 tiles, u64 *full, u64 *empty, float *strips) {
        int half = threadIdx.x / GROUP - 1, warp = threadIdx.x % GROUP / 32;
        Place now;
        float sums[STRIPS][COLS / 8][4];
        int steps2 = (p.depth2 + DEPTH - 1) / DEPTH, steps = steps2 + (p.depth + DEPTH - 1) / DEPTH;
        for (Tiles tile(p); tile.next();) {
            u32 before = 0; // the stage of the step before
            for (int step = 0; step < steps; step++) {
                wait_for_phase(full + now.stage, now.phase);
                step_of_products(tiles + now.stage * STAGE, half, step > 0, sums);
                if (step > 0) {
                    wait_for_products<1>();
                    release(empty + before);
                }
                if (step + 1 == steps2) { // the second term has a scale of its own
                    settle(sums);
                    scale(sums, p.scale2);
                }
                before = now.stage;
                now.next();
            }
            settle(sums);
            release(empty + before);
#pragma unroll
            for (int strip = 0; strip < STRIPS; strip++) {
                put_strip<COLS / 8>(p, sums[strip], tile.row + (half * STRIPS + strip) * 64 + warp * 16, tile.col,
                                    strips + (half * 4 + warp) * STRIP_FLOATS);
            }
        }
    }

    __device__ __forceinline__ static void step_of_products(u32 stage, int half, int add, float sums[STRIPS][COLS / 8][4]) {
        constexpr u32 ALONG = DEPTH / 4 * 2, DOWN = DEPTH / 4 * LINE; // bytes to the next 16 of K, in a line or by lines
        begin_products();
#pragma unroll
        for (int k = 0; k < 4; k++) {
#pragma unroll
            for (int strip = 0; strip < STRIPS; strip++) {
                // 64 rows are a panel by K, and 64 lines otherwise: as many bytes
                u32 a = stage + (half * STRIPS + strip) * PANEL + k * (A_BY_K ? DOWN : ALONG);
                u32 b = stage + A_BYTES + k * (B_BY_K ? DOWN : ALONG);
                u64 left = tile_of_products(a, PANEL), right = tile_of_products(b, PANEL);
                warpgroup_mma<COLS, B_BY_K, A_BY_K>(sums[strip], left, right, add || k > 0);
            }
        }
        end_products();
    }

    __device__ __forceinline__ static void settle(float sums[STRIPS][COLS / 8][4]) {
        wait_for_products<0>();
#pragma unroll
        for (int strip = 0; strip < STRIPS; strip++) {
            settled<COLS / 8>(sums[strip]);
        }
    }

    __device__ __forceinline__ static void scale(float sums[STRIPS][COLS / 8][4], float factor) {
#pragma unroll
        for (int i = 0; i < STRIPS * COLS / 2; i++) {
            sums[i / (COLS / 2)][i / 4 % (COLS / 8)][i % 4] *= factor;
        }
    }

    /// Says that this warp has read a stage.
    __device__ __forceinline__ static void release(u64 *empty) {
        if (threadIdx.x % 32 == 0) {
            arrive(empty);
        }
    }

    // grid: at most a block a multiprocessor
    __device__ __forceinline__ static void product(const Product &p) {
        DYNAMIC_SHARED(char, shared);
        __shared__ u64 full[STAGES], empty[STAGES];
        __shared__ __align__(16) float strips[8 * STRIP_FLOATS];
        if (threadIdx.x == 0) {
            for (int i = 0; i < STAGES; i++) {
                begin_phases(full + i, GROUP);
                begin_phases(empty + i, 2 * GROUP / 32);
            }
        }
        __syncthreads();
        if (threadIdx.x < GROUP) {
            fewer_registers<FEWER>();
            Copies(shared_address(shared), full, empty).run(p);
        } else {
            more_registers<MORE>();
            multiply(p, shared_address(shared), full, empty, strips);
        }
    }
};

#define WGMMA_MATMUL(name, rows, cols, a_by_k, b_by_k, b_way)                                                               \
    extern "C" __global__ void __launch_bounds__(3 * GROUP, 1) name(Product p) {                                            \
        Warpgroups<rows, cols, a_by_k, b_by_k, b_way>::product(p);                                                          \
    }                                                                                                                       \
    CUEMU_EXPORT(name)

WGMMA_MATMUL(wgmma_nt, 128, 256, false, false, COPIED)
WGMMA_MATMUL(wgmma_nn, 128, 256, false, true, COPIED)
WGMMA_MATMUL(wgmma_tn, 128, 256, true, true, COPIED)
WGMMA_MATMUL(wgmma_nt_nf4, 256, 128, false, false, DECODED)
WGMMA_MATMUL(wgmma_nn_nf4, 256, 128, false, true, DECODED)

#endif
