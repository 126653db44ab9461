// Windows of images: as columns of a matrix and back, and the largest element of each.

#include "kernel.h"

/// Each element of the windows: [images, channels * kernel_height * kernel_width, out_height * out_width]; 0 in the padding.
template <typename T> FUNCTION void unfold(const nnstore_kernel_windows &w) {
    uint64_t windows = w.out_height * w.out_width, kernel = w.kernel_height * w.kernel_width;
    EACH(index, w.images * w.channels * kernel * windows) {
        uint64_t window = index % windows, element = index / windows % kernel, plane = index / windows / kernel;
        // What is negative wraps around to something larger than any extent.
        uint64_t y = window / w.out_width * w.stride_height + element / w.kernel_width * w.dilation_height
                     - w.padding_height;
        uint64_t x = window % w.out_width * w.stride_width + element % w.kernel_width * w.dilation_width
                     - w.padding_width;
        bool is_inside = y < w.height && x < w.width;
        ((T *)w.columns)[index] = is_inside ? ((const T *)w.image)[(plane * w.height + y) * w.width + x] : (T)0;
    }
}

/// The sum of what stands in the windows for each element of the images.
template <typename T> FUNCTION void fold(const nnstore_kernel_windows &w) {
    uint64_t windows = w.out_height * w.out_width, kernel = w.kernel_height * w.kernel_width;
    EACH(index, w.images * w.channels * w.height * w.width) {
        uint64_t x = index % w.width, y = index / w.width % w.height, plane = index / w.width / w.height;
        T sum = 0;
        for (uint64_t ky = 0; ky < w.kernel_height; ky++) {
            uint64_t down = y + w.padding_height - ky * w.dilation_height;
            if (down > y + w.padding_height || down % w.stride_height || down / w.stride_height >= w.out_height) continue;
            for (uint64_t kx = 0; kx < w.kernel_width; kx++) {
                uint64_t right = x + w.padding_width - kx * w.dilation_width;
                if (right > x + w.padding_width || right % w.stride_width || right / w.stride_width >= w.out_width)
                    continue;
                uint64_t window = down / w.stride_height * w.out_width + right / w.stride_width;
                sum += ((const T *)w.columns)[(plane * kernel + ky * w.kernel_width + kx) * windows + window];
            }
        }
        ((T *)w.image)[index] = sum;
    }
}

/// The largest element of each window and its position in the plane; NaN is the largest, of equals the first one counts.
template <typename T> FUNCTION void max_pool(const nnstore_kernel_windows &w) {
    uint64_t windows = w.out_height * w.out_width;
    EACH(index, w.images * w.channels * windows) {
        uint64_t window = index % windows, plane = index / windows;
        const T *image = (const T *)w.image + plane * w.height * w.width;
        T largest = (T)-INFINITE;
        int64_t position = -1;
        for (uint64_t ky = 0; ky < w.kernel_height; ky++) {
            uint64_t y = window / w.out_width * w.stride_height + ky * w.dilation_height - w.padding_height;
            if (y >= w.height) continue;
            for (uint64_t kx = 0; kx < w.kernel_width; kx++) {
                uint64_t x = window % w.out_width * w.stride_width + kx * w.dilation_width - w.padding_width;
                if (x >= w.width) continue;
                T value = image[y * w.width + x];
                if (position < 0 || value > largest || (value != value && largest == largest)) {
                    largest = value;
                    position = (int64_t)(y * w.width + x);
                }
            }
        }
        ((T *)w.columns)[index] = largest;
        ((int64_t *)w.positions)[index] = position;
    }
}

KERNEL(unfold_f32, nnstore_kernel_windows) { unfold<float>(arguments); }
KERNEL(unfold_f64, nnstore_kernel_windows) { unfold<double>(arguments); }
KERNEL(fold_f32, nnstore_kernel_windows) { fold<float>(arguments); }
KERNEL(fold_f64, nnstore_kernel_windows) { fold<double>(arguments); }
KERNEL(max_pool_f32, nnstore_kernel_windows) { max_pool<float>(arguments); }
KERNEL(max_pool_f64, nnstore_kernel_windows) { max_pool<double>(arguments); }
