// Entry points for memory and copies.
// A part of cuda_test_driver.c.

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
    b->memory = take_memory(bytes);
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
