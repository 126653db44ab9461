// What the double knows: its objects, what is to fail, and what it was used wrongly for.
// A part of cuda_test_driver.c.

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
