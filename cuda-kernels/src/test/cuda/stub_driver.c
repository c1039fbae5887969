/* A CUDA driver that does nothing but remember how it was called, for tests of the bindings. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char log_text[1 << 16];
static size_t log_length;
static char failing[64];
static int failing_code;

const char *stub_log(void) { return log_text; }
static int events, streams; /* handles are told apart by them */
void stub_clear(void) { log_length = 0; log_text[0] = 0; events = streams = 0; }
void stub_fail(const char *function, int code) { snprintf(failing, sizeof failing, "%s", function); failing_code = code; }

/* Remembers a call; what it answers. */
static int called(const char *function, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (log_length + 1024 < sizeof log_text) {
        log_length += sprintf(log_text + log_length, "%s(", function);
        log_length += vsnprintf(log_text + log_length, 512, format, arguments);
        log_length += sprintf(log_text + log_length, ")\n");
    }
    va_end(arguments);
    return strcmp(function, failing) == 0 ? failing_code : 0;
}

int cuInit(unsigned flags) { return called("cuInit", "%u", flags); }
int cuDriverGetVersion(int *version) { *version = 12080; return called("cuDriverGetVersion", ""); }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 40; return called("cuDeviceGet", "%d", ordinal); }
int cuDeviceGetCount(int *count) { *count = 1; return called("cuDeviceGetCount", ""); }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Stub %d", device); return called("cuDeviceGetName", "%d, %d", length, device); }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 8ul << 30; return called("cuDeviceTotalMem", "%d", device); }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 132; return called("cuDeviceGetAttribute", "%d, %d", attribute, device); }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0xC0; return called("cuDevicePrimaryCtxRetain", "%d", device); }
int cuDevicePrimaryCtxRelease_v2(int device) { return called("cuDevicePrimaryCtxRelease", "%d", device); }
int cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
int cuCtxSetCurrent(void *context) { return called("cuCtxSetCurrent", "%p", context); }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = 3ul << 30; *total = 8ul << 30; return called("cuMemGetInfo", ""); }
int cuMemAlloc_v2(uint64_t *address, size_t bytes) { *address = 0x7000000000; return called("cuMemAlloc", "%zu", bytes); }
int cuMemFree_v2(uint64_t address) { return called("cuMemFree", "%lx", address); }
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) { *memory = malloc(bytes); return called("cuMemHostAlloc", "%zu, %u", bytes, flags); }
int cuMemFreeHost(void *memory) { free(memory); return called("cuMemFreeHost", ""); }
int cuMemcpyHtoDAsync_v2(uint64_t target, const void *source, size_t bytes, void *stream) { return called("cuMemcpyHtoDAsync", "%lx, %d, %zu, %p", target, *(const int *)source, bytes, stream); }
int cuMemcpyDtoHAsync_v2(void *target, uint64_t source, size_t bytes, void *stream) { memset(target, 0x5A, bytes); return called("cuMemcpyDtoHAsync", "%lx, %zu, %p", source, bytes, stream); }
int cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t bytes, void *stream) { return called("cuMemcpyDtoDAsync", "%lx, %lx, %zu, %p", target, source, bytes, stream); }
int cuMemsetD8Async(uint64_t target, unsigned char value, size_t bytes, void *stream) { return called("cuMemsetD8Async", "%lx, %u, %zu, %p", target, value, bytes, stream); }
int cuModuleLoadData(void **module, const void *image) { *module = (void *)0xD0; return called("cuModuleLoadData", "%s", (const char *)image); }
int cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
    for (unsigned i = 0; i < count; i++)
        if (options[i] == 5) snprintf(values[i], (size_t)values[i + 1], "ptxas says no");
    *module = (void *)0xD0;
    return called("cuModuleLoadData", "%s", (const char *)image);
}
int cuModuleUnload(void *module) { return called("cuModuleUnload", "%p", module); }
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = (void *)0xF0; return called("cuModuleGetFunction", "%p, %s", module, name); }
int cuFuncSetAttribute(void *function, int attribute, int value) { return called("cuFuncSetAttribute", "%p, %d, %d", function, attribute, value); }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **arguments, void **extra) {
    return called("cuLaunchKernel", "%p, %u %u %u, %u %u %u, %u, %p, {%lx, %d, %g}, %p", function, x, y, z, bx, by, bz, shared, stream,
                  *(uint64_t *)arguments[0], *(int *)arguments[1], *(float *)arguments[2], (void *)extra);
}
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)(0x50l + streams++); return called("cuStreamCreate", "%u", flags); }
int cuStreamDestroy_v2(void *stream) { return called("cuStreamDestroy", "%p", stream); }
int cuStreamSynchronize(void *stream) { return called("cuStreamSynchronize", "%p", stream); }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return called("cuStreamWaitEvent", "%p, %p, %u", stream, event, flags); }
int cuEventCreate(void **event, unsigned flags) { *event = (void *)(0xE0l + events++); return called("cuEventCreate", "%u", flags); }
int cuEventDestroy_v2(void *event) { return called("cuEventDestroy", "%p", event); }
int cuEventRecord(void *event, void *stream) { return called("cuEventRecord", "%p, %p", event, stream); }
int cuEventSynchronize(void *event) { return called("cuEventSynchronize", "%p", event); }
int cuEventElapsedTime(float *millis, void *start, void *end) { *millis = 1.5f; return called("cuEventElapsedTime", "%p, %p", start, end); }
int cuGetErrorName(int code, const char **name) { *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : NULL; return *name ? 0 : 1; }
int cuGetErrorString(int code, const char **text) { *text = code == 2 ? "out of memory" : code == 700 ? "an illegal memory access was encountered" : NULL; return *text ? 0 : 1; }
