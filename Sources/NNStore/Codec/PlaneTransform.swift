/// Splits the elements of a chunk into planes of their bytes, and joins them again: transforms 1 and 2 of the coming
/// container format 2 (format 1 has transform 0 alone).
///
/// Plane k holds the k-th byte of every element, the most significant byte first. With rotation, each element is first
/// rotated left by one bit, so that a float's sign moves to the end and its exponent fills the first bytes alone:
/// exponents of weights are few, and a plane of them shrinks to a third.
///
/// Sound: the sizes are checked on entry, and every access below is at an index less than `count` in a buffer of
/// `count` elements.
struct PlaneTransform: Sendable, Hashable {
    /// The bytes of an element: 1, 2, 4 or 8.
    let width: Int
    /// Whether elements are rotated.
    let isRotated: Bool

    /// Splits `source`, whose size is a multiple of the width, into planes one after another in `planes`, which has its
    /// size.
    func split(_ source: RawSpan, into planes: inout MutableRawSpan) {
        precondition(source.byteCount % width == 0 && planes.byteCount == source.byteCount)
        let count = source.byteCount / width
        if count == 0 { return }
        unsafe source.withUnsafeBytes { source in
            unsafe planes.withUnsafeMutableBytes { planes in
                let from = source.baseAddress!
                let to = unsafe planes.baseAddress!.assumingMemoryBound(to: UInt8.self)
                switch width {
                case 2: unsafe PlaneTransform.split(from, to, count, UInt16.self, isRotated ? 1 : 0)
                case 4: unsafe PlaneTransform.split(from, to, count, UInt32.self, isRotated ? 1 : 0)
                case 8: unsafe PlaneTransform.split(from, to, count, UInt64.self, isRotated ? 1 : 0)
                default: unsafe to.update(from: from.assumingMemoryBound(to: UInt8.self), count: count)
                }
            }
        }
    }

    /// Joins planes that stand one after another in `planes` to elements in `destination`, which has their size.
    func join(_ planes: RawSpan, into destination: inout MutableRawSpan) {
        precondition(planes.byteCount % width == 0 && destination.byteCount == planes.byteCount)
        let count = planes.byteCount / width
        if count == 0 { return }
        unsafe planes.withUnsafeBytes { planes in
            unsafe destination.withUnsafeMutableBytes { destination in
                let from = unsafe planes.baseAddress!.assumingMemoryBound(to: UInt8.self)
                let to = destination.baseAddress!
                switch width {
                case 2: unsafe PlaneTransform.join(from, to, count, UInt16.self, isRotated ? 1 : 0)
                case 4: unsafe PlaneTransform.join(from, to, count, UInt32.self, isRotated ? 1 : 0)
                case 8: unsafe PlaneTransform.join(from, to, count, UInt64.self, isRotated ? 1 : 0)
                default: unsafe to.assumingMemoryBound(to: UInt8.self).update(from: from, count: count)
                }
            }
        }
    }

    // One pass over the elements (one for each plane took a third to three quarters longer), in a loop that the compiler
    // turns into vector instructions.
    @inline(__always)
    private static func split<Element: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ source: UnsafeRawPointer, _ planes: UnsafeMutablePointer<UInt8>, _ count: Int, _: Element.Type,
        _ turn: Element
    ) {
        let width = Element.bitWidth / 8
        let back = Element(Element.bitWidth) - turn
        for index in 0..<count {
            let element = unsafe source.loadUnaligned(fromByteOffset: index &* width, as: Element.self)
            let turned = turn == 0 ? element : element &<< turn | element &>> back
            for plane in 0..<width {
                unsafe planes[plane &* count &+ index] = UInt8(
                    truncatingIfNeeded: turned &>> Element(8 * (width - 1 - plane)))
            }
        }
    }

    @inline(__always)
    private static func join<Element: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(
        _ planes: UnsafePointer<UInt8>, _ destination: UnsafeMutableRawPointer, _ count: Int, _: Element.Type,
        _ turn: Element
    ) {
        let width = Element.bitWidth / 8
        let back = Element(Element.bitWidth) - turn
        for index in 0..<count {
            var turned: Element = 0
            for plane in 0..<width {
                turned = turned &<< 8 | Element(truncatingIfNeeded: unsafe planes[plane &* count &+ index])
            }
            let element = turn == 0 ? turned : turned &>> turn | turned &<< back
            unsafe destination.storeBytes(of: element, toByteOffset: index &* width, as: Element.self)
        }
    }
}
