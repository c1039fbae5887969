/* A CUDA driver that does nothing, so that what a call costs is all that is measured. A launch reads its arguments, as a
 * driver does. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t sum;
static uintptr_t events; /* handles are told apart by them */

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "idle driver"); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 8ul << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 132; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0xC0; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuDevicePrimaryCtxRelease(int device) { return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) { *memory = malloc(bytes); return 0; }
int cuMemFreeHost(void *memory) { free(memory); return 0; }
int cuModuleLoadData(void **module, const void *image) { *module = (void *)0xD0; return 0; }
int cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) { *module = (void *)0xD0; return 0; }
int cuModuleUnload(void *module) { return 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = (void *)0xF0; return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)0x50; return 0; }
int cuStreamDestroy_v2(void *stream) { return 0; }
int cuStreamSynchronize(void *stream) { return 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = (void *)(0xE0 + events++); return 0; }
int cuEventDestroy_v2(void *event) { return 0; }
int cuEventRecord(void *event, void *stream) { return 0; }
int cuEventSynchronize(void *event) { return 0; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **arguments, void **extra) {
    for (int i = 0; i < 9; i++) /* all eight bytes of each slot are there */
        sum += *(uint64_t *)arguments[i];
    return 0;
}
int cuGetErrorName(int code, const char **name) { return 1; }
int cuGetErrorString(int code, const char **text) { return 1; }
