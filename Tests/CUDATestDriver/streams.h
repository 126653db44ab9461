// Streams: threads that do one piece of work after another.
// A part of cuda_test_driver.c.

// Blocks stand side by side, as those of a driver's pool do: an access beyond one finds another, and has to be noticed.
enum { alignment = 256 };
static const size_t space_bytes = (size_t)64 << 30;
static char *space;
static size_t taken;

static char *take_memory(size_t bytes) {
    if (!space) {
        void *made = mmap(NULL, space_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (made == MAP_FAILED) abort();
        space = made;
    }
    if (!blocks) taken = 0;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (bytes > space_bytes - taken) abort();
    char *memory = space + taken;
    taken += bytes;
    return memory;
}

// Whole pages of it take no memory any more.
static void give_back_memory(char *memory, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = ((uintptr_t)memory + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)memory + bytes) / page * page;
    if (start < end) madvise((void *)start, end - start, MADV_DONTNEED);
}

static void release_block(block *b) {
    block **place = &blocks;
    while (*place != b) place = &(*place)->next;
    *place = b->next;
    used[b->device] -= b->bytes;
    give_back_memory(b->memory, b->bytes);
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
