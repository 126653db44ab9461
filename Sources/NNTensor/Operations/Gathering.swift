import CVectorMath
import NNStore

extension Tensor {
    /// One element for each index: `result[i, j] = self[index[i, j], j]` for dimension 0, and so on.
    ///
    /// - Parameters:
    ///   - dimension: the one that the indices stand for.
    ///   - index: I64, from 0 on, with as many dimensions as the tensor, none but `dimension` larger than there.
    /// - Throws: ``TensorError/shapeMismatch(operation:shapes:reason:)``,
    ///   ``TensorError/invalidArgument(operation:reason:)`` for an index that is not there, or if indices are not I64.
    public func gather(_ dimension: Int, _ index: Tensor) throws -> Tensor {
        let axis = try axis(dimension, "gather")
        try requireIndices(index, "gather")
        guard index.rank == rank, shape.indices.allSatisfy({ $0 == axis || index.shape[$0] <= shape[$0] }) else {
            throw TensorError.shapeMismatch(
                operation: "gather", shapes: [shape, index.shape],
                reason: "indices have as many dimensions, and only dimension \(dimension) may be larger")
        }
        var part = self
        for other in shape.indices where other != axis { part = try part.narrow(other, 0..<index.shape[other]) }
        let source = try part.isContiguous ? part : part.copied("gather")
        let places = try index.isContiguous ? index : index.copied("gather")
        let result = try Tensor.zeroed(dtype, index.shape, on: try Placement.device(of: [self, index], "gather"))
        let (outer, inner) = (index.shape[..<axis].reduce(1, *), index.shape[(axis + 1)...].reduce(1, *))
        if result.device.isGPU {
            try GPUIndexing.gather(
                source, places, to: result, [outer, shape[axis], index.shape[axis], inner], isByElement: true, "gather")
        } else if index.count > 0 {
            let (from, indices) = (try source.elements(for: "gather"), try places.elements(for: "gather"))
            let to = try result.writableElements(for: "gather")
            let bad = unsafe nnstore_gather(
                outer, shape[axis], index.shape[axis], inner, dtype.bytesPerBlock, from.address(0),
                indices.pointer(0), to.address(0))
            try refuseIndex(at: bad, places, axis, "gather")
        }
        let whole = shape
        if Tensor.isRecording([self]) {
            let saved = SavedValue(places, for: "gather")
            result.record("gather", [self]) { gradient, _ in
                let sum = try Tensor.zeroed(Promotion.computing(gradient.dtype), whole, on: gradient.device)
                try sum.scatterAdd(axis, saved.value(), gradient, "gather")
                return [sum]
            }
        }
        return result
    }

    /// The parts of a dimension that a list of indices names, in its order: for dimension 0 of a matrix, rows.
    ///
    /// - Parameters:
    ///   - dimension: the one that the indices stand for.
    ///   - indices: I64 of one dimension, from 0 on.
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` for an index that is not there, or if indices are not I64.
    public func indexSelect(_ dimension: Int, _ indices: Tensor) throws -> Tensor {
        let axis = try axis(dimension, "indexSelect")
        guard indices.rank == 1 else {
            throw TensorError.shapeMismatch(
                operation: "indexSelect", shapes: [shape, indices.shape], reason: "indices have one dimension")
        }
        let taken = try taking(axis, indices, "indexSelect")
        let whole = shape
        if Tensor.isRecording([self]) {
            let saved = SavedValue(taken.places, for: "indexSelect")
            taken.result.record("indexSelect", [self]) { gradient, _ in
                let sum = try Tensor.zeroed(Promotion.computing(gradient.dtype), whole, on: gradient.device)
                try sum.add(gradient, at: saved.value(), axis, "indexSelect")
                return [sum]
            }
        }
        return taken.result
    }

    private func taking(_ axis: Int, _ indices: Tensor, _ operation: String) throws -> (result: Tensor, places: Tensor)
    {
        try requireIndices(indices, operation)
        let source = try isContiguous ? self : copied(operation)
        let places = try indices.isContiguous ? indices : indices.copied(operation)
        var shape = shape
        shape[axis] = indices.count
        let result = try Tensor.zeroed(dtype, shape, on: try Placement.device(of: [self, indices], operation))
        let (outer, inner) = (shape[..<axis].reduce(1, *), shape[(axis + 1)...].reduce(1, *))
        if result.device.isGPU {
            try GPUIndexing.gather(
                source, places, to: result, [outer, self.shape[axis], indices.count, inner], isByElement: false,
                operation)
            return (result, places)
        }
        let (from, at) = (try source.elements(for: operation), try places.elements(for: operation))
        let to = try result.writableElements(for: operation)
        if result.count > 0 || indices.count > 0 && self.shape[axis] == 0 {
            let bad = unsafe nnstore_take(
                outer, self.shape[axis], indices.count, inner * dtype.bytesPerBlock, from.address(0),
                at.pointer(0), to.address(0))
            try refuseIndex(at: bad, places, axis, operation)
        }
        return (result, places)
    }

    /// Adds each element of `source` to that of this contiguous tensor of F32 or F64 that its index names; not recorded.
    func scatterAdd(_ axis: Int, _ index: Tensor, _ source: Tensor, _ operation: String) throws {
        let values = try (source.isContiguous ? source : source.copied(operation)).converted(to: dtype, operation)
        let (outer, inner) = (shape[..<axis].reduce(1, *), shape[(axis + 1)...].reduce(1, *))
        // Where other dimensions are smaller than here, the rest is left alone.
        if shape.indices.contains(where: { $0 != axis && index.shape[$0] != shape[$0] }) {
            var part = self
            for other in shape.indices where other != axis { part = try part.narrow(other, 0..<index.shape[other]) }
            let sum = try part.copied(operation)
            try sum.scatterAdd(axis, index, source, operation)
            return try part.writeValues(of: sum, operation)
        }
        guard index.count > 0 else { return }
        if device.isGPU {
            return try GPUIndexing.add(
                values, at: index, to: self, [outer, shape[axis], index.shape[axis], inner], isByElement: true,
                operation)
        }
        let (from, at) = (try values.elements(for: operation), try index.elements(for: operation))
        let to = try writableElements(for: operation)
        let positions: UnsafeMutablePointer<Int64>? = unsafe at.pointer(0)
        let bad =
            if dtype == .f64 {
                unsafe nnstore_scatter_add_f64(
                    outer, shape[axis], index.shape[axis], inner, from.pointer(0),
                    positions, to.pointer(0))
            } else {
                unsafe nnstore_scatter_add_f32(
                    outer, shape[axis], index.shape[axis], inner, from.pointer(0),
                    positions, to.pointer(0))
            }
        try refuseIndex(at: bad, index, axis, operation)
    }

    /// Adds the parts of `source` to those of this contiguous tensor of F32 or F64 that `indices` name; not recorded.
    func add(_ source: Tensor, at indices: Tensor, _ axis: Int, _ operation: String) throws {
        let values = try (source.isContiguous ? source : source.copied(operation)).converted(to: dtype, operation)
        guard values.count > 0 else { return }
        let (outer, inner) = (shape[..<axis].reduce(1, *), shape[(axis + 1)...].reduce(1, *))
        if device.isGPU {
            return try GPUIndexing.add(
                values, at: indices, to: self, [outer, shape[axis], indices.count, inner], isByElement: false, operation
            )
        }
        let (from, at) = (try values.elements(for: operation), try indices.elements(for: operation))
        let to = try writableElements(for: operation)
        let positions: UnsafeMutablePointer<Int64>? = unsafe at.pointer(0)
        let bad =
            if dtype == .f64 {
                unsafe nnstore_add_at_f64(
                    outer, shape[axis], indices.count, inner, from.pointer(0),
                    positions,
                    to.pointer(0))
            } else {
                unsafe nnstore_add_at_f32(
                    outer, shape[axis], indices.count, inner, from.pointer(0),
                    positions,
                    to.pointer(0))
            }
        try refuseIndex(at: bad, indices, axis, operation)
    }

    private func requireIndices(_ index: Tensor, _ operation: String) throws {
        guard index.dtype == .i64 else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [dtype, index.dtype], reason: "indices are I64. Convert with to(.i64)")
        }
    }

    private func refuseIndex(at position: Int64, _ index: Tensor, _ axis: Int, _ operation: String) throws {
        guard position >= 0 else { return }
        let found = try index.reshape([index.count]).select(0, Int(position)).item(as: Int.self)
        throw TensorError.invalidArgument(
            operation: operation,
            reason: "index \(found) in dimension \(axis) of shape \(shape); only 0 to \(shape[axis] - 1) are there")
    }
}
