#include "functions.h"

#include <math.h>
#include <string.h>

#include "vectors.h"

// Windows of images, a row of windows at a time.

/// The windows of a row whose element lies in the image: from `first` to before `end`; that of `first` is at `x`.
typedef struct run {
    size_t first, end, x;
} run;

INLINE run inside(const nnstore_windows *w, size_t kx) {
    size_t shift = kx * w->dilation_width;
    size_t first = 0, end = 0;
    if (shift < w->padding_width) first = (w->padding_width - shift + w->stride_width - 1) / w->stride_width;
    if (shift < w->padding_width + w->width)
        end = (w->padding_width + w->width - shift + w->stride_width - 1) / w->stride_width;
    if (end > w->out_width) end = w->out_width;
    if (first > end) first = end;
    return (run){first, end, first * w->stride_width + shift - w->padding_width};
}

// Calls STEP for each element of a window and each row of windows: `columns` is where the elements of the row lie, `row` the
// row of the image that they come from, or NULL if it is padding, and `in` which of the windows see the image.
#define EACH_ROW(STEP)                                                                                                 \
    for (size_t c = 0; c < w->channels; c++)                                                                           \
        for (size_t ky = 0; ky < w->kernel_height; ky++)                                                               \
            for (size_t kx = 0; kx < w->kernel_width; kx++) {                                                          \
                run in = inside(w, kx);                                                                                \
                for (size_t oy = 0; oy < w->out_height; oy++, columns += w->out_width) {                               \
                    /* What is negative wraps around to something larger than any extent. */                           \
                    size_t y = oy * w->stride_height + ky * w->dilation_height - w->padding_height;                    \
                    size_t place = y < w->height ? (c * w->height + y) * w->width + in.x : 0;                          \
                    STEP                                                                                               \
                }                                                                                                      \
            }

#define WINDOWS(suffix, T)                                                                                             \
    CLONES void nnstore_unfold_##suffix(const nnstore_windows *w, const T *image, T *columns) {                        \
        EACH_ROW({                                                                                                     \
            if (y >= w->height || in.first == in.end) {                                                                \
                memset(columns, 0, w->out_width * sizeof(T));                                                          \
                continue;                                                                                              \
            }                                                                                                          \
            for (size_t i = 0; i < in.first; i++) columns[i] = 0;                                                      \
            if (w->stride_width == 1) {                                                                                \
                memcpy(columns + in.first, image + place, (in.end - in.first) * sizeof(T));                            \
            } else {                                                                                                   \
                const T *from = image + place;                                                                         \
                for (size_t i = in.first; i < in.end; i++, from += w->stride_width) columns[i] = *from;                \
            }                                                                                                          \
            for (size_t i = in.end; i < w->out_width; i++) columns[i] = 0;                                             \
        })                                                                                                             \
    }                                                                                                                  \
    CLONES void nnstore_fold_##suffix(const nnstore_windows *w, const T *columns, T *image) {                          \
        EACH_ROW({                                                                                                     \
            if (y >= w->height || in.first == in.end) continue;                                                        \
            T *to = image + place;                                                                                     \
            if (w->stride_width == 1) {                                                                                \
                PARALLEL for (size_t i = 0; i < in.end - in.first; i++) to[i] += columns[in.first + i];                \
            } else {                                                                                                   \
                for (size_t i = in.first; i < in.end; i++, to += w->stride_width) *to += columns[i];                   \
            }                                                                                                          \
        })                                                                                                             \
    }                                                                                                                  \
    void nnstore_max_pool_##suffix(const nnstore_windows *w, const T *image, T *to, int64_t *positions) {              \
        for (size_t c = 0; c < w->channels; c++, image += w->height * w->width)                                        \
            for (size_t oy = 0; oy < w->out_height; oy++)                                                              \
                for (size_t ox = 0; ox < w->out_width; ox++) {                                                         \
                    T largest = -INFINITY;                                                                             \
                    int64_t position = -1;                                                                             \
                    for (size_t ky = 0; ky < w->kernel_height; ky++) {                                                 \
                        size_t y = oy * w->stride_height + ky * w->dilation_height - w->padding_height;                \
                        if (y >= w->height) continue;                                                                  \
                        for (size_t kx = 0; kx < w->kernel_width; kx++) {                                              \
                            size_t x = ox * w->stride_width + kx * w->dilation_width - w->padding_width;               \
                            if (x >= w->width) continue;                                                               \
                            T value = image[y * w->width + x];                                                         \
                            if (position < 0 || value > largest || (value != value && largest == largest)) {           \
                                largest = value;                                                                       \
                                position = (int64_t)(y * w->width + x);                                                \
                            }                                                                                          \
                        }                                                                                              \
                    }                                                                                                  \
                    *to++ = largest;                                                                                   \
                    *positions++ = position;                                                                           \
                }                                                                                                      \
    }

WINDOWS(f32, float)
WINDOWS(f64, double)
