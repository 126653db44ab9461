/// Splits the elements of a chunk into planes of their bytes, and joins them again (spec section 7, transforms 1 and 2).
///
/// Plane k holds the k-th byte of every element, the most significant byte first. With rotation, each element is first
/// rotated left, so that a float's sign moves to the end and its exponent fills the first byte alone: exponents of
/// weights are few, and a plane of them shrinks to a third. Eight bytes rotate by four bits: the upper three bits of a
/// binary64's exponent are nearly the same in all weights and shrink with the sign, and the other eight fill a byte.
///
/// Sound: the sizes are checked on entry, and every access below is at an index less than `count` in a buffer of
/// `count` elements, or of `count` bytes for each plane.
struct PlaneTransform: Sendable, Hashable {
    /// The bytes that elements can have.
    enum Width: Int, Sendable, CaseIterable {
        case two = 2
        case four = 4
        case eight = 8
    }

    private let elementWidth: Width
    /// Whether elements are rotated.
    let isRotated: Bool

    /// By how many bits elements are rotated to the left.
    var rotation: Int { isRotated ? (elementWidth == .eight ? 4 : 1) : 0 }

    init(width: Width, isRotated: Bool) {
        elementWidth = width
        self.isRotated = isRotated
    }

    /// The bytes of an element.
    var width: Int { elementWidth.rawValue }

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
                switch elementWidth {
                case .two: unsafe PlaneTransform.split(from, to, count, UInt16.self, UInt16(rotation))
                case .four: unsafe PlaneTransform.split(from, to, count, UInt32.self, UInt32(rotation))
                case .eight: unsafe PlaneTransform.split(from, to, count, UInt64.self, UInt64(rotation))
                }
            }
        }
    }

    /// Where a plane begins: in which of two spans, and at which byte.
    struct Place {
        let isDecoded: Bool
        let offset: Int
    }

    /// Joins planes to elements in `destination`, whose size is a multiple of the width.
    ///
    /// - Parameters:
    ///   - encoded, decoded: where planes lie that were stored, and those that were decoded.
    ///   - places: where each plane begins, the most significant one first.
    func join(
        encoded: RawSpan, decoded: RawSpan, at places: [Place], into destination: inout MutableRawSpan
    ) {
        let count = destination.byteCount / width
        precondition(
            destination.byteCount % width == 0 && places.count == width
                && places.allSatisfy {
                    $0.offset >= 0 && $0.offset <= ($0.isDecoded ? decoded : encoded).byteCount - count
                })
        if count == 0 { return }
        unsafe encoded.withUnsafeBytes { encoded in
            unsafe decoded.withUnsafeBytes { decoded in
                unsafe destination.withUnsafeMutableBytes { destination in
                    let to = destination.baseAddress!
                    func plane(_ number: Int) -> UnsafePointer<UInt8> {
                        let base = unsafe (places[number].isDecoded ? decoded : encoded).baseAddress!
                        return unsafe base.assumingMemoryBound(to: UInt8.self) + places[number].offset
                    }
                    switch elementWidth {
                    case .two: unsafe PlaneTransform.join2(plane(0), plane(1), to, count, UInt16(rotation))
                    case .four:
                        unsafe PlaneTransform.join4(plane(0), plane(1), plane(2), plane(3), to, count, UInt32(rotation))
                    case .eight:
                        unsafe PlaneTransform.join8((0..<8).map { unsafe plane($0) }, to, count, UInt64(rotation))
                    }
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

    // Planes may lie anywhere, so each has a pointer of its own; with an array of pointers the compiler finds no vector
    // instructions.
    @inline(__always)
    private static func join2(
        _ high: UnsafePointer<UInt8>, _ low: UnsafePointer<UInt8>, _ destination: UnsafeMutableRawPointer,
        _ count: Int, _ turn: UInt16
    ) {
        for index in 0..<count {
            let turned = unsafe UInt16(high[index]) &<< 8 | UInt16(low[index])
            let element = turn == 0 ? turned : turned &>> turn | turned &<< (16 - turn)
            unsafe destination.storeBytes(of: element, toByteOffset: index &* 2, as: UInt16.self)
        }
    }

    @inline(__always)
    private static func join4(
        _ first: UnsafePointer<UInt8>, _ second: UnsafePointer<UInt8>, _ third: UnsafePointer<UInt8>,
        _ fourth: UnsafePointer<UInt8>, _ destination: UnsafeMutableRawPointer, _ count: Int, _ turn: UInt32
    ) {
        for index in 0..<count {
            let high = unsafe UInt32(first[index]) &<< 24 | UInt32(second[index]) &<< 16
            let turned = unsafe high | UInt32(third[index]) &<< 8 | UInt32(fourth[index])
            let element = turn == 0 ? turned : turned &>> turn | turned &<< (32 - turn)
            unsafe destination.storeBytes(of: element, toByteOffset: index &* 4, as: UInt32.self)
        }
    }

    @inline(__always)
    private static func join8(
        _ planes: [UnsafePointer<UInt8>], _ destination: UnsafeMutableRawPointer, _ count: Int, _ turn: UInt64
    ) {
        let (a, b, c, d) = unsafe (planes[0], planes[1], planes[2], planes[3])
        let (e, f, g, h) = unsafe (planes[4], planes[5], planes[6], planes[7])
        for index in 0..<count {
            let first = unsafe UInt64(a[index]) &<< 56 | UInt64(b[index]) &<< 48
            let second = unsafe UInt64(c[index]) &<< 40 | UInt64(d[index]) &<< 32
            let third = unsafe UInt64(e[index]) &<< 24 | UInt64(f[index]) &<< 16
            let turned = unsafe first | second | third | UInt64(g[index]) &<< 8 | UInt64(h[index])
            let element = turn == 0 ? turned : turned &>> turn | turned &<< (64 - turn)
            unsafe destination.storeBytes(of: element, toByteOffset: index &* 8, as: UInt64.self)
        }
    }
}

extension DType {
    /// How elements of this type are split into planes; `nil` where one byte, a block or less is an element, and
    /// nothing is gained.
    var planes: PlaneTransform? {
        switch self {
        case .f64, .c128: PlaneTransform(width: .eight, isRotated: true)
        case .f32, .c64: PlaneTransform(width: .four, isRotated: true)
        case .f16, .bf16: PlaneTransform(width: .two, isRotated: true)
        case .i64, .u64: PlaneTransform(width: .eight, isRotated: false)
        case .i32, .u32: PlaneTransform(width: .four, isRotated: false)
        case .i16, .u16: PlaneTransform(width: .two, isRotated: false)
        default: nil
        }
    }
}

extension PlaneTransform {
    /// The transforms of some dtypes, each once, `nil` among them for none, in an order that depends on them alone.
    static func all(for dtypes: some Sequence<DType>) -> [PlaneTransform?] {
        Set(dtypes.lazy.map(\.planes)).sorted { ($0.rank, $0?.width ?? 1) < ($1.rank, $1?.width ?? 1) }
    }

    /// What to try where nothing is known about the elements.
    static let forUnknownElements: [PlaneTransform?] =
        [nil] + Width.allCases.map { PlaneTransform(width: $0, isRotated: true) }
}

extension PlaneTransform? {
    fileprivate var rank: Int { self.map { $0.isRotated ? 2 : 1 } ?? 0 }
}
