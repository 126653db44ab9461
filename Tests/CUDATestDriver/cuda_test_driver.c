#define _GNU_SOURCE
#include "cuda_test_driver.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels_on_host.h"
// One after another: each builds on those before it.
#include "watching.h"
#include "streams.h"
#include "device_entries.h"
#include "memory_entries.h"
#include "kernel_entries.h"

static const struct {
    const char *name;
    void *function;
} entries[] = {
    {"cuInit", start}, {"cuDriverGetVersion", driver_version}, {"cuGetErrorName", error_name},
    {"cuGetErrorString", error_meaning}, {"cuDeviceGetCount", device_count}, {"cuDeviceGet", device_get},
    {"cuDeviceGetName", device_name}, {"cuDeviceGetUuid", device_uuid}, {"cuDeviceGetAttribute", device_attribute},
    {"cuDeviceTotalMem", device_memory}, {"cuDevicePrimaryCtxRetain", retain_context},
    {"cuDevicePrimaryCtxRelease", release_context}, {"cuCtxPushCurrent", push_context}, {"cuCtxPopCurrent", pop_context},
    {"cuStreamCreate", create_stream}, {"cuStreamDestroy", destroy_stream}, {"cuStreamWaitEvent", stream_wait_event},
    {"cuEventCreate", create_event}, {"cuEventDestroy", destroy_event}, {"cuEventRecord", record_event},
    {"cuEventQuery", query_event}, {"cuEventSynchronize", synchronize_event}, {"cuMemGetInfo", memory_info}, {"cuMemAlloc", allocate},
    {"cuMemFree", free_block}, {"cuMemPoolCreate", create_pool}, {"cuMemPoolDestroy", destroy_pool},
    {"cuMemPoolSetAttribute", set_pool_attribute}, {"cuMemPoolTrimTo", trim_pool},
    {"cuMemAllocFromPoolAsync", allocate_from_pool}, {"cuMemFreeAsync", free_async},
    {"cuMemHostRegister", register_memory}, {"cuMemHostUnregister", unregister_memory},
    {"cuMemHostAlloc", allocate_host}, {"cuMemFreeHost", free_host}, {"cuMemcpyHtoDAsync", copy_to_device},
    {"cuMemcpyDtoHAsync", copy_to_host}, {"cuMemcpyDtoDAsync", copy_on_device}, {"cuMemsetD8Async", fill_device},
    {"cuModuleLoadData", load_module}, {"cuModuleUnload", unload_module},
    {"cuModuleGetFunction", module_function}, {"cuLaunchKernel", launch_kernel},
};

int cuda_test_get_proc_address(const char *name, void **function, int version, uint64_t flags, int *status) {
    *function = NULL;
    // 1: not found; 2: the driver is too old for it.
    *status = 1;
    if (flags) return invalid_value;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        if (strcmp(entries[i].name, name)) continue;
        *status = version <= settings.version ? 0 : 2;
        if (*status == 0) *function = entries[i].function;
    }
    return success;
}

// What a program finds that opens the double as a library.
__attribute__((visibility("default"))) int cuGetProcAddress_v2(
    const char *name, void **function, int version, uint64_t flags, int *status) {
    if (!settings.version) cuda_test_reset((cuda_test_configuration){1, 1, 0, 12020, (size_t)16 << 30, 0, 0});
    return cuda_test_get_proc_address(name, function, version, flags, status);
}

// MARK: What tests say and ask

int cuda_test_in_child(int (*body)(void)) {
    // A lock that another thread holds at this moment would stay locked in the child for ever.
    pthread_mutex_lock(&lock);
    pid_t child = fork();
    pthread_mutex_unlock(&lock);
    if (child == 0) _exit(body());
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void cuda_test_reset(cuda_test_configuration configuration) {
    pthread_mutex_lock(&lock);
    while (streams) end(streams);
    while (blocks) release_block(blocks);
    while (events) {
        event *e = events;
        events = e->next;
        free(e);
    }
    while (pins) {
        pinned *p = pins;
        pins = p->next;
        if (p->is_allocated) free(p->start);
        free(p);
    }
    while (pools) {
        pool *p = pools;
        pools = p->next;
        free(p);
    }
    while (modules) {
        module *m = modules;
        modules = m->next;
        free(m);
    }
    memset(contexts, 0, sizeof contexts);
    memset(used, 0, sizeof used);
    memset(counts, 0, sizeof counts);
    misuse[0] = 0;
    misuse_lines = 0;
    is_failing = lost_code = 0;
    all_calls = 0;
    settings = configuration;
    pthread_mutex_unlock(&lock);
}

void cuda_test_fail(const char *entry, long call, int code, int stays) {
    pthread_mutex_lock(&lock);
    memset(counts, 0, sizeof counts);
    all_calls = 0;
    failing_entry = NULL;
    for (size_t i = 0; entry && i < sizeof entries / sizeof *entries; i++)
        if (!strcmp(entries[i].name, entry)) failing_entry = entries[i].name;
    failing_call = call;
    failing_code = code;
    failing_stays = stays;
    is_failing = call > 0 && (!entry || failing_entry);
    pthread_mutex_unlock(&lock);
}

long cuda_test_calls(const char *entry) {
    pthread_mutex_lock(&lock);
    long calls = entry ? 0 : all_calls;
    for (int i = 0; entry && i < most_entries && counts[i].name; i++)
        if (!strcmp(counts[i].name, entry)) calls = counts[i].calls;
    pthread_mutex_unlock(&lock);
    return calls;
}

const char *cuda_test_misuse(void) { return misuse; }

const char *cuda_test_leaks(void) {
    pthread_mutex_lock(&lock);
    leaks[0] = 0;
    size_t bytes = 0;
    int counted[7] = {0};
    for (block *b = blocks; b; b = b->next)
        if (!b->is_being_freed) counted[0]++, bytes += b->bytes;
    for (event *e = events; e; e = e->next) counted[1]++;
    for (stream *s = streams; s; s = s->next) counted[2]++;
    for (pool *p = pools; p; p = p->next) counted[3]++;
    for (pinned *p = pins; p; p = p->next) counted[4]++;
    for (int i = 0; i < most_devices; i++) counted[5] += contexts[i].retained;
    for (module *m = modules; m; m = m->next) counted[6]++;
    const char *names[] = {"allocations", "events", "streams", "pools", "pinned regions", "retained contexts",
                           "modules"};
    for (int i = 0; i < 7; i++) {
        if (!counted[i]) continue;
        size_t length = strlen(leaks);
        snprintf(leaks + length, sizeof leaks - length, "%d %s\n", counted[i], names[i]);
    }
    pthread_mutex_unlock(&lock);
    return leaks;
}
