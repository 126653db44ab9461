// Entry points for devices, contexts, streams and events.
// A part of cuda_test_driver.c.

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
