/* cuBLASLt's and cuBLAS's place in tests: products of bfloat16 matrices on the host, column by column as theirs, from the
 * same calls. What they would refuse is refused. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { R_32F = 0, R_16BF = 14, COMPUTE_32F = 68, OP_N = 0, OP_T = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { DESC_TRANSA = 3, DESC_TRANSB = 4, PREF_WORKSPACE = 1, PREF_ALIGN_A = 5, PREF_ALIGN_D = 8 };

typedef struct { int compute, scale, trans[2]; } Operation;
typedef struct { int type; uint64_t rows, cols; int64_t ld; } Layout;
typedef struct { size_t workspace; uint32_t alignment[4]; } Preference;
typedef struct { uint64_t data[8]; } Algorithm;
typedef struct { Algorithm algo; size_t workspace; int state; float waves; int reserved[4]; } Result;

static const uint64_t MAGIC = 0xB1A5;
static long live, products, queries; /* descriptions that are not destroyed, calls */
static int failing, refusing;

long stub_live(void) { return live; }
long stub_products(void) { return products; }
long stub_queries(void) { return queries; }
/* From now on products fail; there is no algorithm. */
void stub_set(int fail, int refuse) { failing = fail, refusing = refuse, products = queries = 0; }

static float bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

static uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* C (m × n) = alpha · op(A) · op(B) + beta · C, all column by column. */
static void multiply(int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const uint16_t *a, int64_t lda,
                     const uint16_t *b, int64_t ldb, float beta, void *c, int type, int64_t ldc) {
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++) {
            float sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += bf16(a[ta ? l + i * lda : i + l * lda]) * bf16(b[tb ? j + l * ldb : l + j * ldb]);
            int64_t at = i + j * ldc;
            float there = beta == 0 ? 0 : type == R_32F ? ((float *)c)[at] : bf16(((uint16_t *)c)[at]);
            float y = alpha * sum + beta * there;
            if (type == R_32F) ((float *)c)[at] = y;
            else ((uint16_t *)c)[at] = to_bf16(y);
        }
    products++;
}

static int made(void **out, size_t bytes) { live++; *out = calloc(1, bytes); return 0; }
static int gone(void *it) { live--; free(it); return 0; }

int cublasLtCreate(void **handle) { return made(handle, 1); }
int cublasLtDestroy(void *handle) { return gone(handle); }
size_t cublasLtGetVersion(void) { return 130002; }
const char *cublasLtGetStatusString(int status) { return status == EXECUTION_FAILED ? "the stub fails" : "another status"; }
int cublasLtMatmulDescCreate(void **out, int compute, int scale) {
    made(out, sizeof(Operation));
    ((Operation *)*out)->compute = compute, ((Operation *)*out)->scale = scale;
    return 0;
}
int cublasLtMatmulDescDestroy(void *it) { return gone(it); }
int cublasLtMatmulDescSetAttribute(Operation *it, int attribute, const int *value, size_t bytes) {
    if (bytes != 4 || attribute < DESC_TRANSA || attribute > DESC_TRANSB) return INVALID_VALUE;
    it->trans[attribute - DESC_TRANSA] = *value;
    return 0;
}
int cublasLtMatrixLayoutCreate(void **out, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    made(out, sizeof(Layout));
    *(Layout *)*out = (Layout){type, rows, cols, ld};
    return ld < (int64_t)rows ? INVALID_VALUE : 0;
}
int cublasLtMatrixLayoutDestroy(void *it) { return gone(it); }
int cublasLtMatmulPreferenceCreate(void **out) { return made(out, sizeof(Preference)); }
int cublasLtMatmulPreferenceDestroy(void *it) { return gone(it); }
int cublasLtMatmulPreferenceSetAttribute(Preference *it, int attribute, const void *value, size_t bytes) {
    if (attribute == PREF_WORKSPACE && bytes == 8) return memcpy(&it->workspace, value, 8), 0;
    if (attribute >= PREF_ALIGN_A && attribute <= PREF_ALIGN_D && bytes == 4)
        return memcpy(&it->alignment[attribute - PREF_ALIGN_A], value, 4), 0;
    return INVALID_VALUE;
}

static int fits(const Operation *op, const Layout *a, const Layout *b, const Layout *c, const Layout *d) {
    int ta = op->trans[0] == OP_T, tb = op->trans[1] == OP_T;
    uint64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols, n = tb ? b->rows : b->cols;
    return op->compute == COMPUTE_32F && op->scale == R_32F && a->type == R_16BF && b->type == R_16BF && c->type == d->type
           && (c->type == R_32F || c->type == R_16BF) && (tb ? b->cols : b->rows) == k && c->rows == m && c->cols == n
           && d->rows == m && d->cols == n;
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, Operation *op, Layout *a, Layout *b, Layout *c, Layout *d, Preference *preference,
                                   int wanted, Result *results, int *found) {
    queries++;
    if (!fits(op, a, b, c, d) || wanted != 1) return INVALID_VALUE;
    if (refusing) return NOT_SUPPORTED;
    memset(results, 0, sizeof *results);
    for (int i = 0; i < 4; i++) results->algo.data[i] = preference->alignment[i];
    results->algo.data[7] = MAGIC;
    results->workspace = preference->workspace;
    *found = 1;
    return 0;
}

int cublasLtMatmul(void *handle, Operation *op, const float *alpha, const uint16_t *a, Layout *la, const uint16_t *b, Layout *lb,
                   const float *beta, const void *c, Layout *lc, void *d, Layout *ld, Algorithm *algorithm, void *workspace,
                   size_t bytes, void *stream) {
    const void *operands[4] = {a, b, c, d};
    if (failing) return EXECUTION_FAILED;
    if (!fits(op, la, lb, lc, ld) || c != d || algorithm->data[7] != MAGIC || workspace == NULL || bytes == 0) return INVALID_VALUE;
    for (int i = 0; i < 4; i++)
        if ((uintptr_t)operands[i] % algorithm->data[i]) return INVALID_VALUE;
    int ta = op->trans[0] == OP_T, tb = op->trans[1] == OP_T;
    multiply(ta, tb, lc->rows, lc->cols, ta ? la->rows : la->cols, *alpha, a, la->ld, b, lb->ld, *beta, d, ld->type, ld->ld);
    return 0;
}

/* cuBLAS, as JCublas2 calls it. */
int cublasCreate_v2(void **handle) { return made(handle, 1); }
int cublasDestroy_v2(void *handle) { return gone(handle); }
int cublasGetVersion_v2(void *handle, int *version) { *version = 120603; return 0; }
static void *given_stream;
int cublasSetStream_v2(void *handle, void *stream) { given_stream = stream; return 0; }
long stub_stream(void) { return (long)given_stream; }
int cublasSetWorkspace_v2(void *handle, void *workspace, size_t bytes) { return workspace == NULL || bytes == 0 ? INVALID_VALUE : 0; }
int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int type_a, int lda,
                 const void *b, int type_b, int ldb, const void *beta, void *c, int type, int ldc, int compute, int algorithm) {
    if (failing) return EXECUTION_FAILED;
    if (type_a != R_16BF || type_b != R_16BF || compute != COMPUTE_32F || algorithm != -1) return INVALID_VALUE;
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return INVALID_VALUE;
    multiply(ta == OP_T, tb == OP_T, m, n, k, *(const float *)alpha, a, lda, b, ldb, *(const float *)beta, c, type, ldc);
    return 0;
}
