#define _GNU_SOURCE
#include "cuda_test_driver.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels_on_host.h"

// The numbers are those of the CUDA Driver API reference.
enum { success = 0, invalid_value = 1, out_of_memory = 2, not_initialized = 3, no_device = 100, invalid_device = 101,
       invalid_context = 201, unsupported_ptx = 222, not_found = 500, not_ready = 600, invalid_handle = 400, already_registered = 712, not_registered = 713, launch_failed = 719,
       not_supported = 801 };

enum { most_devices = 4, most_entries = 64, most_lines = 32 };

typedef struct work work;
typedef struct stream stream;

typedef struct context {
    int device;
    int retained;
} context;

typedef struct event {
    struct event *next;
    context *owner;
    // How often it was recorded, and the number of the recording that was reached last.
    long recorded, reached;
} event;

enum kind { copy_work, fill_work, kernel_work, record_work, wait_work, free_work, stop_work };

struct work {
    work *next;
    enum kind kind;
    char *destination;
    const char *source;
    size_t bytes;
    unsigned char value;
    // Of the source when a copy to the device was begun.
    uint64_t digest;
    int checks_source;
    event *event;
    long recording;
    uint64_t address;
    const host_kernel *kernel;
    char arguments[1024];
};

struct stream {
    stream *next;
    context *owner;
    pthread_t thread;
    work *first, **last;
    work *current;
};

typedef struct block {
    struct block *next;
    uint64_t address;
    size_t bytes;
    char *memory;
    int device;
    int is_being_freed;
} block;

typedef struct pinned {
    struct pinned *next;
    char *start;
    size_t bytes;
    int is_allocated;
} pinned;

typedef struct module {
    struct module *next;
    const char *text;
} module;

typedef struct pool {
    struct pool *next;
    int device;
} pool;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static cuda_test_configuration settings;
static context contexts[most_devices];
static event *events;
static stream *streams;
static block *blocks;
static pinned *pins;
static pool *pools;
static module *modules;
static size_t used[most_devices];
static char misuse[most_lines * 200];
static int misuse_lines;
static char leaks[1000];

static struct {
    const char *name;
    long calls;
} counts[most_entries];
static const char *failing_entry;
static long failing_call, all_calls;
static int failing_code, failing_stays, is_failing;
// A lost context: every later call fails.
static int lost_code;

static __thread context *current[16];
static __thread int depth;

// MARK: Watching

static void report(const char *format, ...) {
    if (misuse_lines++ >= most_lines) return;
    size_t length = strlen(misuse);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(misuse + length, sizeof misuse - length, format, arguments);
    va_end(arguments);
    strncat(misuse, "\n", sizeof misuse - strlen(misuse) - 1);
}

static int is_losing(int code) {
    return code == 214 || code == 700 || code == 702 || code == 710 || (code >= 714 && code <= 719) || code == 999;
}

// Called first by every entry point that can fail, with the lock held. Returns what the call fails with.
static int entered(const char *name) {
    int place = 0;
    while (place < most_entries - 1 && counts[place].name && strcmp(counts[place].name, name)) place++;
    counts[place].name = name;
    counts[place].calls++;
    all_calls++;
    if (lost_code) return lost_code;
    if (!is_failing || (failing_entry && strcmp(failing_entry, name))) return success;
    long call = failing_entry ? counts[place].calls : all_calls;
    if (call == failing_call || (failing_stays && call > failing_call)) {
        if (is_losing(failing_code)) lost_code = failing_code;
        return failing_code;
    }
    return success;
}

// Every entry point that can fail begins and ends with these.
#define ENTER(name) \
    pthread_mutex_lock(&lock); \
    int failure = entered(name); \
    if (failure) { pthread_mutex_unlock(&lock); return failure; }

// For what gives something back: as with the real driver, a failure is one of earlier work, and the thing is given back.
#define ENTER_RELEASE(name) \
    pthread_mutex_lock(&lock); \
    int failure = entered(name)

#define LEAVE(result) \
    do { int value = (result); pthread_mutex_unlock(&lock); return value; } while (0)

static int is_current(context *wanted, const char *name) {
    if (depth > 0 && current[depth - 1] == wanted) return 1;
    report("%s: the context of its handle is not the current one", name);
    return 0;
}

static int needs_context(const char *name) {
    if (depth > 0) return 1;
    report("%s: no context is current", name);
    return 0;
}

static uint64_t digest(const char *bytes, size_t count) {
    uint64_t sum = 1469598103934665603u;
    for (size_t i = 0; i < count; i += i + 8 <= count ? 8 : 1) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, i + 8 <= count ? 8 : 1);
        sum = (sum ^ word) * 1099511628211u;
    }
    return sum;
}

static block *block_of(uint64_t address, size_t bytes) {
    for (block *b = blocks; b; b = b->next)
        if (address >= b->address && address - b->address < b->bytes && bytes <= b->bytes - (address - b->address)) return b;
    return NULL;
}

static int is_pinned(const void *start, size_t bytes) {
    for (pinned *p = pins; p; p = p->next)
        if ((const char *)start >= p->start && (const char *)start + bytes <= p->start + p->bytes) return 1;
    return 0;
}

static int touches(const work *w, const char *start, size_t bytes) {
    if (!w || (w->kind != copy_work && w->kind != fill_work)) return 0;
    if (w->destination < start + bytes && start < w->destination + w->bytes) return 1;
    return w->kind == copy_work && w->source < start + bytes && start < w->source + w->bytes;
}

// Whether work that is not done uses memory; that of `except` aside.
static int is_in_flight(const char *start, size_t bytes, const stream *except) {
    for (stream *s = streams; s; s = s->next) {
        if (s == except) continue;
        if (touches(s->current, start, bytes)) return 1;
        for (work *w = s->first; w; w = w->next)
            if (touches(w, start, bytes)) return 1;
    }
    return 0;
}

// MARK: Streams

static void release_block(block *b) {
    block **place = &blocks;
    while (*place != b) place = &(*place)->next;
    *place = b->next;
    used[b->device] -= b->bytes;
    free(b->memory);
    free(b);
}

static void *run(void *argument) {
    stream *s = argument;
    pthread_mutex_lock(&lock);
    while (1) {
        while (!s->first) pthread_cond_wait(&changed, &lock);
        work *w = s->first;
        s->first = w->next;
        if (!s->first) s->last = &s->first;
        s->current = w;
        enum kind kind = w->kind;
        if (kind == wait_work) {
            while (w->event->reached < w->recording) pthread_cond_wait(&changed, &lock);
        } else if (kind != stop_work) {
            unsigned int delay = settings.delay;
            pthread_mutex_unlock(&lock);
            if (delay) usleep(delay);
            if (kind == copy_work) {
                int is_same = !w->checks_source || digest(w->source, w->bytes) == w->digest;
                memcpy(w->destination, w->source, w->bytes);
                pthread_mutex_lock(&lock);
                if (!is_same) report("the source of a copy of %zu bytes was changed before it was copied", w->bytes);
            } else {
                if (kind == fill_work) memset(w->destination, w->value, w->bytes);
                if (kind == kernel_work) w->kernel->run(w->arguments);
                pthread_mutex_lock(&lock);
            }
            if (kind == record_work && w->event->reached < w->recording) w->event->reached = w->recording;
            if (kind == free_work) {
                block *b = block_of(w->address, 0);
                if (is_in_flight(b->memory, b->bytes, s)) report("memory was freed while another stream's work uses it");
                release_block(b);
            }
        }
        s->current = NULL;
        free(w);
        pthread_cond_broadcast(&changed);
        if (kind == stop_work) break;
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void append(stream *s, work value) {
    work *w = malloc(sizeof *w);
    *w = value;
    w->next = NULL;
    *s->last = w;
    s->last = &w->next;
    pthread_cond_broadcast(&changed);
}

// Ends a stream's thread after its work; called and returns with the lock held.
static void end(stream *s) {
    append(s, (work){.kind = stop_work});
    pthread_mutex_unlock(&lock);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&lock);
    stream **place = &streams;
    while (*place != s) place = &(*place)->next;
    *place = s->next;
    free(s);
}

static stream *checked(void *handle, const char *name) {
    if (!handle) {
        report("%s: stream 0 was used", name);
        return NULL;
    }
    for (stream *s = streams; s; s = s->next)
        if (s == handle) return is_current(s->owner, name) ? s : NULL;
    report("%s: there is no such stream", name);
    return NULL;
}

static event *checked_event(void *handle, const char *name) {
    for (event *e = events; e; e = e->next)
        if (e == handle) return is_current(e->owner, name) ? e : NULL;
    report("%s: there is no such event", name);
    return NULL;
}

// MARK: Entry points

static int start(unsigned int flags) {
    ENTER("cuInit");
    LEAVE(flags ? invalid_value : settings.start_result);
}

static int driver_version(int *version) {
    *version = settings.version;
    return success;
}

static int error_name(int error, const char **text) {
    switch (error) {
    case success: *text = "CUDA_SUCCESS"; break;
    case invalid_value: *text = "CUDA_ERROR_INVALID_VALUE"; break;
    case out_of_memory: *text = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case no_device: *text = "CUDA_ERROR_NO_DEVICE"; break;
    case launch_failed: *text = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case 803: *text = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"; break;
    default: *text = NULL; return invalid_value;
    }
    return success;
}

static int error_meaning(int error, const char **text) {
    *text = "the test driver was told to fail";
    return error < 0 ? invalid_value : success;
}

static int device_count(int *count) {
    ENTER("cuDeviceGetCount");
    *count = settings.devices;
    LEAVE(success);
}

static int device_get(int *device, int ordinal) {
    ENTER("cuDeviceGet");
    if (ordinal < 0 || ordinal >= settings.devices) LEAVE(invalid_device);
    *device = ordinal;
    LEAVE(success);
}

static int device_name(char *name, int length, int device) {
    ENTER("cuDeviceGetName");
    snprintf(name, (size_t)length, "Test double %d", device);
    LEAVE(success);
}

static int device_uuid(unsigned char *uuid, int device) {
    ENTER("cuDeviceGetUuid");
    for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(16 * device + i);
    LEAVE(success);
}

static int device_attribute(int *value, int attribute, int device) {
    ENTER("cuDeviceGetAttribute");
    (void)device;
    switch (attribute) {
    case 16: *value = 4; break;
    case 75: *value = 7; break;
    case 76: *value = 5; break;
    case 115: *value = settings.has_pools; break;
    default: LEAVE(invalid_value);
    }
    LEAVE(success);
}

static int device_memory(size_t *bytes, int device) {
    ENTER("cuDeviceTotalMem");
    (void)device;
    *bytes = settings.memory;
    LEAVE(success);
}

static int retain_context(void **handle, int device) {
    ENTER("cuDevicePrimaryCtxRetain");
    if (device < 0 || device >= settings.devices) LEAVE(invalid_device);
    contexts[device].device = device;
    contexts[device].retained++;
    *handle = &contexts[device];
    LEAVE(success);
}

static int release_context(int device) {
    ENTER_RELEASE("cuDevicePrimaryCtxRelease");
    if (contexts[device].retained-- <= 0) report("cuDevicePrimaryCtxRelease: the context was not retained");
    LEAVE(failure);
}

static int push_context(void *handle) {
    ENTER("cuCtxPushCurrent");
    if (depth == 16) LEAVE(invalid_context);
    if (((context *)handle)->retained <= 0) report("cuCtxPushCurrent: the context was released");
    current[depth++] = handle;
    LEAVE(success);
}

static int pop_context(void **handle) {
    // Does not fail, or everything after an injected failure would run in a wrong context.
    pthread_mutex_lock(&lock);
    if (depth == 0) {
        report("cuCtxPopCurrent: no context is current");
        LEAVE(invalid_context);
    }
    *handle = current[--depth];
    LEAVE(success);
}

static int create_stream(void **handle, unsigned int flags) {
    ENTER("cuStreamCreate");
    if (!needs_context("cuStreamCreate")) LEAVE(invalid_context);
    if (!(flags & 1)) report("cuStreamCreate: the stream would wait for stream 0");
    stream *s = calloc(1, sizeof *s);
    s->owner = current[depth - 1];
    s->last = &s->first;
    s->next = streams;
    streams = s;
    pthread_create(&s->thread, NULL, run, s);
    *handle = s;
    LEAVE(success);
}

static int destroy_stream(void *handle) {
    ENTER_RELEASE("cuStreamDestroy");
    stream *s = checked(handle, "cuStreamDestroy");
    if (!s) LEAVE(invalid_handle);
    end(s);
    LEAVE(failure);
}

static int stream_wait_event(void *handle, void *other, unsigned int flags) {
    ENTER("cuStreamWaitEvent");
    (void)flags;
    stream *s = checked(handle, "cuStreamWaitEvent");
    event *e = NULL;
    // A stream may wait for an event of another context.
    for (event *one = events; one; one = one->next)
        if (one == other) e = one;
    if (!s || !e) LEAVE(invalid_handle);
    append(s, (work){.kind = wait_work, .event = e, .recording = e->recorded});
    LEAVE(success);
}

static int create_event(void **handle, unsigned int flags) {
    ENTER("cuEventCreate");
    if (!needs_context("cuEventCreate")) LEAVE(invalid_context);
    if (!(flags & 1)) report("cuEventCreate: waiting for the event would spin");
    event *e = calloc(1, sizeof *e);
    e->owner = current[depth - 1];
    e->next = events;
    events = e;
    *handle = e;
    LEAVE(success);
}

static int is_used(const event *e) {
    for (stream *s = streams; s; s = s->next) {
        if (s->current && s->current->event == e) return 1;
        for (work *w = s->first; w; w = w->next)
            if (w->event == e) return 1;
    }
    return 0;
}

static int destroy_event(void *handle) {
    ENTER_RELEASE("cuEventDestroy");
    event *e = checked_event(handle, "cuEventDestroy");
    if (!e) LEAVE(invalid_handle);
    // As the real one does: what was begun is finished before the event goes.
    while (is_used(e)) pthread_cond_wait(&changed, &lock);
    event **place = &events;
    while (*place != e) place = &(*place)->next;
    *place = e->next;
    free(e);
    LEAVE(failure);
}

static int record_event(void *handle, void *on) {
    ENTER("cuEventRecord");
    event *e = checked_event(handle, "cuEventRecord");
    stream *s = checked(on, "cuEventRecord");
    if (!e || !s) LEAVE(invalid_handle);
    append(s, (work){.kind = record_work, .event = e, .recording = ++e->recorded});
    LEAVE(success);
}

static int query_event(void *handle) {
    ENTER("cuEventQuery");
    event *e = checked_event(handle, "cuEventQuery");
    if (!e) LEAVE(invalid_handle);
    LEAVE(e->reached >= e->recorded ? lost_code : not_ready);
}

static int synchronize_event(void *handle) {
    ENTER("cuEventSynchronize");
    event *e = checked_event(handle, "cuEventSynchronize");
    if (!e) LEAVE(invalid_handle);
    long recording = e->recorded;
    while (e->reached < recording) pthread_cond_wait(&changed, &lock);
    LEAVE(lost_code);
}

static int memory_info(size_t *free_bytes, size_t *total) {
    ENTER("cuMemGetInfo");
    if (!needs_context("cuMemGetInfo")) LEAVE(invalid_context);
    *total = settings.memory;
    *free_bytes = settings.memory - used[current[depth - 1]->device];
    LEAVE(success);
}

static int new_block(uint64_t *address, size_t bytes) {
    int device = current[depth - 1]->device;
    if (bytes == 0) return invalid_value;
    if (bytes > settings.memory - used[device]) return out_of_memory;
    block *b = calloc(1, sizeof *b);
    b->memory = malloc(bytes);
    // What was never written must not look like anything.
    memset(b->memory, 0xA5, bytes);
    b->bytes = bytes;
    b->device = device;
    // Its kernels run in this process, so an address there is one here.
    b->address = (uint64_t)b->memory;
    b->next = blocks;
    blocks = b;
    used[device] += bytes;
    *address = b->address;
    return success;
}

static int allocate(uint64_t *address, size_t bytes) {
    ENTER("cuMemAlloc");
    if (!needs_context("cuMemAlloc")) LEAVE(invalid_context);
    LEAVE(new_block(address, bytes));
}

static int free_block(uint64_t address) {
    ENTER_RELEASE("cuMemFree");
    if (!needs_context("cuMemFree")) LEAVE(invalid_context);
    block *b = block_of(address, 0);
    if (!b || b->address != address) {
        report("cuMemFree: no allocation begins there");
        LEAVE(invalid_value);
    }
    if (is_in_flight(b->memory, b->bytes, NULL)) report("cuMemFree: work that is not done uses the memory");
    release_block(b);
    LEAVE(failure);
}

typedef struct {
    int allocation_type, handle_types, location_type, location;
    void *attributes;
    unsigned char reserved[64];
} pool_properties;

static int create_pool(void **handle, const pool_properties *properties) {
    ENTER("cuMemPoolCreate");
    if (!settings.has_pools) LEAVE(not_supported);
    if (properties->allocation_type != 1 || properties->location_type != 1 || properties->attributes) LEAVE(invalid_value);
    for (size_t i = 0; i < sizeof properties->reserved; i++)
        if (properties->reserved[i]) report("cuMemPoolCreate: a reserved byte is not zero");
    pool *p = calloc(1, sizeof *p);
    p->device = properties->location;
    p->next = pools;
    pools = p;
    *handle = p;
    LEAVE(success);
}

static int destroy_pool(void *handle) {
    ENTER_RELEASE("cuMemPoolDestroy");
    pool **place = &pools;
    while (*place && *place != handle) place = &(*place)->next;
    if (!*place) LEAVE(invalid_value);
    pool *p = *place;
    *place = p->next;
    free(p);
    LEAVE(failure);
}

static int set_pool_attribute(void *handle, int attribute, void *value) {
    ENTER("cuMemPoolSetAttribute");
    (void)handle;
    (void)value;
    LEAVE(attribute == 4 ? success : invalid_value);
}

static int trim_pool(void *handle, size_t bytes) {
    ENTER("cuMemPoolTrimTo");
    (void)handle;
    (void)bytes;
    LEAVE(success);
}

static int allocate_from_pool(uint64_t *address, size_t bytes, void *from, void *on) {
    ENTER("cuMemAllocFromPoolAsync");
    if (!checked(on, "cuMemAllocFromPoolAsync") || !from) LEAVE(invalid_handle);
    LEAVE(new_block(address, bytes));
}

static int free_async(uint64_t address, void *on) {
    ENTER_RELEASE("cuMemFreeAsync");
    stream *s = checked(on, "cuMemFreeAsync");
    block *b = block_of(address, 0);
    if (!s) LEAVE(invalid_handle);
    if (!b || b->address != address || b->is_being_freed) {
        report("cuMemFreeAsync: no allocation begins there");
        LEAVE(invalid_value);
    }
    b->is_being_freed = 1;
    append(s, (work){.kind = free_work, .address = address});
    LEAVE(failure);
}

static void add_pin(void *start, size_t bytes, int is_allocated) {
    pinned *p = calloc(1, sizeof *p);
    *p = (pinned){.next = pins, .start = start, .bytes = bytes, .is_allocated = is_allocated};
    pins = p;
}

static int remove_pin(void *start, int is_allocated, const char *name) {
    pinned **place = &pins;
    while (*place && ((*place)->start != start || (*place)->is_allocated != is_allocated)) place = &(*place)->next;
    pinned *p = *place;
    if (!p) {
        report("%s: the memory is not pinned so", name);
        return not_registered;
    }
    if (is_in_flight(p->start, p->bytes, NULL)) report("%s: work that is not done uses the memory", name);
    *place = p->next;
    if (is_allocated) free(p->start);
    free(p);
    return success;
}

static int register_memory(void *start, size_t bytes, unsigned int flags) {
    ENTER("cuMemHostRegister");
    if (!needs_context("cuMemHostRegister")) LEAVE(invalid_context);
    if (settings.refuses_registering) LEAVE(not_supported);
    if (!(flags & 1)) report("cuMemHostRegister: other devices could not use the memory");
    if (is_pinned(start, 1)) LEAVE(already_registered);
    add_pin(start, bytes, 0);
    LEAVE(success);
}

static int unregister_memory(void *start) {
    ENTER_RELEASE("cuMemHostUnregister");
    int result = remove_pin(start, 0, "cuMemHostUnregister");
    LEAVE(failure ? failure : result);
}

static int allocate_host(void **start, size_t bytes, unsigned int flags) {
    ENTER("cuMemHostAlloc");
    if (!needs_context("cuMemHostAlloc")) LEAVE(invalid_context);
    if (!(flags & 1)) report("cuMemHostAlloc: other devices could not use the memory");
    if (flags & 4) report("cuMemHostAlloc: reading write-combined memory is slow");
    *start = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    add_pin(*start, bytes, 1);
    LEAVE(success);
}

static int free_host(void *start) {
    ENTER_RELEASE("cuMemFreeHost");
    int result = remove_pin(start, 1, "cuMemFreeHost");
    LEAVE(failure ? failure : result);
}

static int copy_to_device(uint64_t destination, const void *source, size_t bytes, void *on) {
    ENTER("cuMemcpyHtoDAsync");
    stream *s = checked(on, "cuMemcpyHtoDAsync");
    block *b = block_of(destination, bytes);
    if (!s) LEAVE(invalid_handle);
    if (!b) report("cuMemcpyHtoDAsync: %zu bytes are not inside an allocation", bytes);
    if (!is_pinned(source, bytes)) report("cuMemcpyHtoDAsync: the memory is not pinned, so the copy is not asynchronous");
    if (!b) LEAVE(invalid_value);
    append(s, (work){.kind = copy_work, .destination = b->memory + (destination - b->address), .source = source,
                     .bytes = bytes, .digest = digest(source, bytes), .checks_source = 1});
    LEAVE(success);
}

static int copy_to_host(void *destination, uint64_t source, size_t bytes, void *on) {
    ENTER("cuMemcpyDtoHAsync");
    stream *s = checked(on, "cuMemcpyDtoHAsync");
    block *b = block_of(source, bytes);
    if (!s) LEAVE(invalid_handle);
    if (!b) report("cuMemcpyDtoHAsync: %zu bytes are not inside an allocation", bytes);
    if (!is_pinned(destination, bytes))
        report("cuMemcpyDtoHAsync: the memory is not pinned, so the copy is not asynchronous");
    if (!b) LEAVE(invalid_value);
    if (is_in_flight(destination, bytes, NULL))
        report("cuMemcpyDtoHAsync: work that is not done uses the memory that is copied to");
    // Whoever looks before the copy is done shall not find what an earlier one left.
    memset(destination, 0x5A, bytes);
    append(s, (work){.kind = copy_work, .destination = destination, .source = b->memory + (source - b->address),
                     .bytes = bytes});
    LEAVE(success);
}

static int copy_on_device(uint64_t destination, uint64_t source, size_t bytes, void *on) {
    ENTER("cuMemcpyDtoDAsync");
    stream *s = checked(on, "cuMemcpyDtoDAsync");
    block *to = block_of(destination, bytes), *from = block_of(source, bytes);
    if (!s) LEAVE(invalid_handle);
    if (!to || !from) {
        report("cuMemcpyDtoDAsync: %zu bytes are not inside an allocation", bytes);
        LEAVE(invalid_value);
    }
    append(s, (work){.kind = copy_work, .destination = to->memory + (destination - to->address),
                     .source = from->memory + (source - from->address), .bytes = bytes});
    LEAVE(success);
}

static int fill_device(uint64_t destination, unsigned char value, size_t bytes, void *on) {
    ENTER("cuMemsetD8Async");
    stream *s = checked(on, "cuMemsetD8Async");
    block *b = block_of(destination, bytes);
    if (!s) LEAVE(invalid_handle);
    if (!b) {
        report("cuMemsetD8Async: %zu bytes are not inside an allocation", bytes);
        LEAVE(invalid_value);
    }
    append(s, (work){.kind = fill_work, .destination = b->memory + (destination - b->address), .value = value,
                     .bytes = bytes});
    LEAVE(success);
}

static int load_module(void **handle, const void *image) {
    ENTER("cuModuleLoadData");
    if (!needs_context("cuModuleLoadData")) LEAVE(invalid_context);
    const char *version = strstr(image, ".version ");
    // 8.0 is what drivers of CUDA 12.0 read.
    if (!version || strtod(version + 9, NULL) > 8.0) LEAVE(unsupported_ptx);
    module *m = calloc(1, sizeof *m);
    m->text = image;
    m->next = modules;
    modules = m;
    *handle = m;
    LEAVE(success);
}

static int unload_module(void *handle) {
    ENTER_RELEASE("cuModuleUnload");
    module **place = &modules;
    while (*place && *place != handle) place = &(*place)->next;
    if (!*place) {
        report("cuModuleUnload: there is no such module");
        LEAVE(invalid_handle);
    }
    module *m = *place;
    *place = m->next;
    free(m);
    LEAVE(failure);
}

static int module_function(void **function, void *handle, const char *name) {
    ENTER("cuModuleGetFunction");
    const host_kernel *kernel = host_kernel_named(name);
    if (!kernel) LEAVE(not_found);
    if (!ptx_has_entry(((module *)handle)->text, name, kernel->argument_bytes)) {
        report("cuModuleGetFunction: the module has no %s that takes %zu bytes", name, kernel->argument_bytes);
        LEAVE(not_found);
    }
    *function = (void *)kernel;
    LEAVE(success);
}

static int launch_kernel(
    void *function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
    unsigned int block_y, unsigned int block_z, unsigned int shared, void *on, void **parameters, void **extra) {
    ENTER("cuLaunchKernel");
    stream *s = checked(on, "cuLaunchKernel");
    if (!s) LEAVE(invalid_handle);
    const host_kernel *kernel = function;
    if (!grid_x || grid_y != 1 || grid_z != 1 || !block_x || block_x > 1024 || block_y != 1 || block_z != 1 || shared ||
        extra || !parameters || kernel->argument_bytes > sizeof((work *)0)->arguments) {
        report("cuLaunchKernel: %s can't be launched so", kernel->name);
        LEAVE(invalid_value);
    }
    work w = {.kind = kernel_work, .kernel = kernel};
    memcpy(w.arguments, parameters[0], kernel->argument_bytes);
    append(s, w);
    LEAVE(success);
}

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
    pid_t child = fork();
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
