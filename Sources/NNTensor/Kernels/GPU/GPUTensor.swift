import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// A tensor on a GPU as kernels see it.
struct GPUTensor {
    /// What the elements are in: given to launches, which keep it.
    let storage: DeviceStorage
    let layout: TensorLayout
    let type: nnstore_element
    /// The address of the first element.
    let address: UInt64

    /// - Throws: ``TensorError/wrongDevice(operation:devices:reason:)`` if it is on the CPU.
    init(_ tensor: Tensor, _ operation: String) throws {
        try tensor.requireValue(operation)
        guard let storage = tensor.storage.deviceBacking as? DeviceStorage else {
            throw TensorError.wrongDevice(
                operation: operation, devices: ["cpu"], reason: "the other operands are on a GPU. Move it with to(_:)")
        }
        let layout = tensor.layout
        guard layout.byteRange.upperBound <= storage.byteCount else {
            throw TensorError.invalidArgument(
                operation: operation,
                reason: "a tensor reaches to byte \(layout.byteRange.upperBound) of a storage of \(storage.byteCount)")
        }
        (self.storage, self.layout) = (storage, layout)
        type = try layout.dtype.elementType(for: operation)
        address = storage.address + UInt64(layout.byteRange.lowerBound)
    }

    var gpu: GPU { storage.gpu }

    /// The same, to be written. Counts the storage's version up.
    init(writing tensor: Tensor, _ operation: String) throws {
        try self.init(tensor, operation)
        tensor.exactNumber = nil
        tensor.storage.countWrite()
    }

    /// How the elements are calculated with: the suffix of kernels' names.
    static func suffix(_ type: nnstore_element) -> String {
        switch type {
        case nnstore_f32, nnstore_f16, nnstore_bf16: "f32"
        case nnstore_f64: "f64"
        default: "i64"
        }
    }
}

extension nnstore_kernel_walk {
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there are more dimensions than kernels walk through.
    init(_ extents: [Int], _ strides: [Int], _ operation: String) throws {
        self.init()
        try KernelDimensions.check(extents.count, operation)
        count = UInt64(extents.reduce(1, *))
        rank = Int32(extents.count)
        KernelDimensions.write(extents, to: &self.extents)
        KernelDimensions.write(strides, to: &self.strides)
    }
}

/// The fixed arrays of kernels' arguments.
enum KernelDimensions {
    /// Dimensions without those of extent 1, and with neighbours joined that make one run in every tensor.
    ///
    /// - Parameter strides: those of each tensor.
    static func joined(_ extents: [Int], _ strides: [[Int]]) -> (extents: [Int], strides: [[Int]]) {
        var joined: (extents: [Int], strides: [[Int]]) = ([], strides.map { _ in [] })
        for (dimension, extent) in extents.enumerated() where extent != 1 {
            let next = strides.map { $0[dimension] }
            if let last = joined.extents.last, zip(joined.strides, next).allSatisfy({ $0.last == $1 * extent }) {
                joined.extents[joined.extents.count - 1] = last * extent
                for (lane, stride) in next.enumerated() {
                    joined.strides[lane][joined.strides[lane].count - 1] = stride
                }
            } else {
                joined.extents.append(extent)
                for (lane, stride) in next.enumerated() { joined.strides[lane].append(stride) }
            }
        }
        return joined
    }

    typealias Array = (Int64, Int64, Int64, Int64, Int64, Int64, Int64, Int64)

    static func check(_ count: Int, _ operation: String) throws {
        guard count <= Int(nnstore_kernel_dimensions) else {
            throw TensorError.invalidArgument(
                operation: operation,
                reason: "\(count) dimensions whose elements do not follow each other are more than the "
                    + "\(nnstore_kernel_dimensions) that GPUs' kernels walk through. Do this on the CPU, with to(.cpu)")
        }
    }

    static func write(_ values: [Int], to array: inout Array) {
        var all = [Int64](repeating: 0, count: 8)
        for (place, value) in values.enumerated() { all[place] = Int64(value) }
        array = (all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7])
    }
}
