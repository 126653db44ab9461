// The program: libFuzzer brings the main function, which calls LLVMFuzzerTestOneInput of FuzzEntry.swift. Around each input
// the memory is counted that is allocated at the same time, beside what the system maps.
#include <sanitizer/allocator_interface.h>
#include <stdatomic.h>
#include <stddef.h>

extern int LLVMFuzzerTestOneInput(const unsigned char *start, long count);
int (*const nnstore_fuzz_target)(const unsigned char *, long) = LLVMFuzzerTestOneInput;

static atomic_long allocated, peak;

static void on_allocation(const volatile void *block, size_t size) {
    (void)block;
    long now = atomic_fetch_add(&allocated, (long)size) + (long)size;
    long before = atomic_load(&peak);
    while (now > before && !atomic_compare_exchange_weak(&peak, &before, now)) {
    }
}

static void on_free(const volatile void *block) {
    if (block) atomic_fetch_sub(&allocated, (long)__sanitizer_get_allocated_size(block));
}

void nnstore_count_memory(void) { __sanitizer_install_malloc_and_free_hooks(on_allocation, on_free); }

// Begins to count anew: what is allocated now is no work of the next input.
long nnstore_begin_counting(void) {
    long now = atomic_load(&allocated);
    atomic_store(&peak, now);
    return now;
}

long nnstore_peak(void) { return atomic_load(&peak); }
