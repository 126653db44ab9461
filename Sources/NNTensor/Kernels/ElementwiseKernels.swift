import CVectorMath
import NNStore

/// The loops over elements, with what surrounds them: broadcasting, strides, conversion of operands that have another type
/// than the loop, threads.
///
/// An operand or a result of another type goes through a piece of memory that fits the processor's nearest cache, so that
/// nothing is converted as a whole.
enum ElementwiseKernels {
    private static let block = 1024

    static func unary(_ operation: nnstore_unary, _ type: nnstore_element, _ from: Elements, _ to: Elements) -> Bool {
        guard let loop = unsafe nnstore_unary_operation(operation, type) else { return false }
        let result = resultType(operation, type)
        let plan = plan(to, [from])
        let strides = plan.strides
        let cost = operation.rawValue >= nnstore_exp.rawValue ? 4 : 1
        if from.type == type && to.type == result {
            plan.run(cost: cost) { count, offsets in
                unsafe loop(count, from.address(offsets[1]), strides[1], to.address(offsets[0]), strides[0])
            }
        } else {
            plan.run(cost: cost) { count, offsets in
                Conversion.run(count) { scratch, start, count in
                    let input = unsafe scratch.read(0, from, type, offsets[1] + start * strides[1], strides[1], count)
                    let output = unsafe scratch.room(2, to, result, offsets[0] + start * strides[0], strides[0])
                    unsafe loop(count, input.address, input.stride, output.address, output.stride)
                    unsafe scratch.write(2, to, result, offsets[0] + start * strides[0], strides[0], count)
                }
            }
        }
        return true
    }

    static func binary(
        _ operation: nnstore_binary, _ type: nnstore_element, _ left: Elements, _ right: Elements, _ to: Elements
    ) -> Bool {
        guard let loop = unsafe nnstore_binary_operation(operation, type) else { return false }
        let result = resultType(operation, type)
        let plan = plan(to, [left, right])
        let strides = plan.strides
        if left.type == type && right.type == type && to.type == result {
            plan.run { count, offsets in
                unsafe loop(
                    count, left.address(offsets[1]), strides[1], right.address(offsets[2]), strides[2],
                    to.address(offsets[0]), strides[0])
            }
        } else {
            plan.run { count, offsets in
                Conversion.run(count) { scratch, start, count in
                    let a = unsafe scratch.read(0, left, type, offsets[1] + start * strides[1], strides[1], count)
                    let b = unsafe scratch.read(1, right, type, offsets[2] + start * strides[2], strides[2], count)
                    let output = unsafe scratch.room(2, to, result, offsets[0] + start * strides[0], strides[0])
                    unsafe loop(count, a.address, a.stride, b.address, b.stride, output.address, output.stride)
                    unsafe scratch.write(2, to, result, offsets[0] + start * strides[0], strides[0], count)
                }
            }
        }
        return true
    }

    /// `to` is `left` where `condition`, a boolean, is true, and `right` elsewhere. All three have one type.
    static func select(_ condition: Elements, _ left: Elements, _ right: Elements, _ to: Elements) {
        let loop = unsafe nnstore_select_operation(to.layout.dtype.bytesPerBlock)!
        let plan = plan(to, [condition, left, right])
        let strides = plan.strides
        plan.run { count, offsets in
            unsafe loop(
                count, condition.address(offsets[1]), strides[1], left.address(offsets[2]), strides[2],
                right.address(offsets[3]), strides[3], to.address(offsets[0]), strides[0])
        }
    }

    /// Copies elements, converting them if the types differ.
    static func copy(_ from: Elements, _ to: Elements) {
        let loop = unsafe nnstore_conversion_loop(from.type, to.type)!
        let plan = plan(to, [from])
        let strides = plan.strides
        plan.run { count, offsets in
            unsafe loop(count, from.address(offsets[1]), strides[1], to.address(offsets[0]), strides[0])
        }
    }

    private static func plan(_ to: Elements, _ from: [Elements]) -> StridedLoop {
        let shape = to.layout.shape
        if to.layout.isContiguous
            && from.allSatisfy({ $0.layout.elementCount == 1 || $0.layout.isContiguous && $0.layout.shape == shape })
        {
            // Everything is one run.
            var strides = StridedLoop.Lanes(repeating: 1)
            for (lane, elements) in from.enumerated() {
                strides[lane + 1] = elements.layout.elementCount == 1 ? 0 : 1
            }
            return StridedLoop(shape: [to.layout.elementCount], strides: [strides])
        }
        var strides = [StridedLoop.Lanes](repeating: .zero, count: shape.count)
        for (lane, elements) in ([to] + from).enumerated() {
            for (dimension, stride) in elements.strides(in: shape).enumerated() { strides[dimension][lane] = stride }
        }
        return StridedLoop(shape: shape, strides: strides)
    }

    private static func resultType(_ operation: nnstore_binary, _ type: nnstore_element) -> nnstore_element {
        let comparisons = nnstore_equal.rawValue...nnstore_greater_equal.rawValue
        return comparisons.contains(operation.rawValue) ? nnstore_bool : type
    }

    private static func resultType(_ operation: nnstore_unary, _ type: nnstore_element) -> nnstore_element {
        operation == nnstore_is_nan || operation == nnstore_is_finite ? nnstore_bool : type
    }

    /// Memory for pieces of up to three operands.
    @safe private struct Conversion {
        private let memory: UnsafeMutableRawPointer
        private static let bytes = block * 8

        /// Calls `body` with pieces of `0..<count`: where one starts and how long it is.
        static func run(_ count: Int, _ body: (Conversion, _ start: Int, _ count: Int) -> Void) {
            unsafe withUnsafeTemporaryAllocation(byteCount: 3 * bytes, alignment: 64) { memory in
                let scratch = unsafe Conversion(memory: memory.baseAddress!)
                for start in stride(from: 0, to: count, by: block) { body(scratch, start, min(block, count - start)) }
            }
        }

        /// The elements from `offset` on as `type`: where they are, or converted to piece `number`.
        @unsafe func read(
            _ number: Int, _ from: Elements, _ type: nnstore_element, _ offset: Int, _ stride: Int, _ count: Int
        ) -> (address: UnsafeMutableRawPointer?, stride: Int) {
            if from.type == type { return unsafe (from.address(offset), stride) }
            let piece = unsafe memory + number * Conversion.bytes
            // One element for all stays one.
            unsafe nnstore_conversion_loop(from.type, type)(
                stride == 0 ? 1 : count, from.address(offset), stride, piece, 1)
            return unsafe (piece, stride == 0 ? 0 : 1)
        }

        /// Where results of `type` go: to their place, or to piece `number`.
        @unsafe func room(
            _ number: Int, _ to: Elements, _ type: nnstore_element, _ offset: Int, _ stride: Int
        ) -> (address: UnsafeMutableRawPointer?, stride: Int) {
            if to.type == type { return unsafe (to.address(offset), stride) }
            return unsafe (memory + number * Conversion.bytes, 1)
        }

        /// Converts the results in piece `number`, if they went there, to their place.
        @unsafe func write(
            _ number: Int, _ to: Elements, _ type: nnstore_element, _ offset: Int, _ stride: Int, _ count: Int
        ) {
            if to.type == type { return }
            let piece = unsafe memory + number * Conversion.bytes
            unsafe nnstore_conversion_loop(type, to.type)(count, piece, 1, to.address(offset), stride)
        }
    }
}
