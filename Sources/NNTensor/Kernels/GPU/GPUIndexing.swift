import CCUDA
import CVectorMath
import NNDevices
import NNStore

/// Gathering and adding by index on a GPU. Everything is contiguous: `[outer, extent, inner]`.
enum GPUIndexing {
    /// The elements that indices name.
    static func gather(
        _ source: Tensor, _ indices: Tensor, to result: Tensor, _ extents: [Int], isByElement: Bool, _ operation: String
    ) throws {
        let (from, at) = (try GPUTensor(source, operation), try GPUTensor(indices, operation))
        let to = try GPUTensor(writing: result, operation)
        let work = try arguments(from, at, to, extents, isByElement)
        try to.gpu.launch(
            .gather, extents[0] * extents[2] * extents[3], work, keeping: [from.storage, at.storage, to.storage])
    }

    /// As many threads are enough for a device, and more than these for one column would only read its indices.
    private static let enoughThreads = 1 << 16
    private static let mostParts = 64

    /// Among how many threads the additions of a column are shared out: a power of two.
    private static func parts(columns: Int, indices: Int) -> Int {
        let most = min(mostParts, indices, enoughThreads / max(columns, 1))
        return most < 2 ? 1 : 1 << (Int.bitWidth - 1 - most.leadingZeroBitCount)
    }

    /// Adds elements of F32 or F64 to those that indices name.
    static func add(
        _ source: Tensor, at indices: Tensor, to result: Tensor, _ extents: [Int], isByElement: Bool,
        _ operation: String
    ) throws {
        let places = try indices.isContiguous ? indices : indices.copied(operation)
        let (from, at) = (try GPUTensor(source, operation), try GPUTensor(places, operation))
        let to = try GPUTensor(writing: result, operation)
        var work = try arguments(from, at, to, extents, isByElement)
        let columns = extents[0] * extents[3]
        let parts = parts(columns: columns, indices: extents[2])
        work.parts = UInt64(parts)
        try to.gpu.launch(
            .addAt(GPUTensor.suffix(to.type)), columns * parts, work,
            keeping: [from.storage, at.storage, to.storage])
    }

    private static func arguments(
        _ from: GPUTensor, _ at: GPUTensor, _ to: GPUTensor, _ extents: [Int], _ isByElement: Bool
    ) throws -> nnstore_kernel_indexing {
        var work = nnstore_kernel_indexing()
        (work.outer, work.extent) = (UInt64(extents[0]), UInt64(extents[1]))
        (work.index_extent, work.inner) = (UInt64(extents[2]), UInt64(extents[3]))
        (work.from, work.indices, work.to) = (from.address, at.address, to.address)
        work.problem = try to.gpu.problemAddress()
        work.size = Int32(from.layout.dtype.bytesPerBlock)
        work.is_by_element = isByElement ? 1 : 0
        return work
    }
}
