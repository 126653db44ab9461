// Entry points for modules and kernels.
// A part of cuda_test_driver.c.

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
