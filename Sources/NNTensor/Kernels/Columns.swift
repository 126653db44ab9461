import CVectorMath
import NNStore

/// The windows of one image, written out as the columns of a matrix. Belongs to one thread.
@safe final class Columns {
    let elements: Elements

    /// Room for `count` elements.
    init(_ count: Int, _ type: nnstore_element) {
        let dtype: DType = type == nnstore_f64 ? .f64 : .f32
        elements = orStop { try Tensor.unwritten(dtype, [count], on: .cpu).writableElements(for: "conv2d") }
    }

    /// Writes the windows of the image that begins at an element of `images`.
    func unfold(_ windows: nnstore_windows, _ images: Elements, at offset: Int) {
        unsafe withUnsafePointer(to: windows) { windows in
            if elements.type == nnstore_f64 {
                unsafe nnstore_unfold_f64(windows, images.pointer(offset), elements.pointer(0))
            } else {
                unsafe nnstore_unfold_f32(windows, images.pointer(offset), elements.pointer(0))
            }
        }
    }

    /// Adds what stands in the windows to the image that begins at an element of `images`.
    func fold(_ windows: nnstore_windows, _ images: Elements, at offset: Int) {
        unsafe withUnsafePointer(to: windows) { windows in
            if elements.type == nnstore_f64 {
                unsafe nnstore_fold_f64(windows, elements.pointer(0), images.pointer(offset))
            } else {
                unsafe nnstore_fold_f32(windows, elements.pointer(0), images.pointer(offset))
            }
        }
    }
}
