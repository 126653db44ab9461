import CCodec

/// Splits the elements of a chunk into planes of their bytes, and joins them again (spec section 7, transforms 1 and 2).
///
/// Plane k holds the k-th byte of every element, the most significant byte first. With rotation, each element is first
/// rotated left, so that a float's sign moves to the end and its exponent fills the first byte alone: exponents of
/// weights are few, and a plane of them shrinks to a third. Eight bytes rotate by four bits: the upper three bits of a
/// binary64's exponent are nearly the same in all weights and shrink with the sign, and the other eight fill a byte.
///
/// Sound: the sizes are checked on entry, and planes.h says what the C functions read and write.
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
                unsafe nnstore_planes_split(
                    source.baseAddress, planes.baseAddress, count, Int32(width), Int32(rotation))
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
    ///   - isReadLater: whether elements go past the processor's caches (``ChunkDecoder/decode(_:into:isZeroed:isReadLater:)``).
    ///   - meanwhile: other work, to which elements may be joined while it waits for the processor; it leaves the planes and
    ///     `destination` alone.
    func join(
        encoded: RawSpan, decoded: RawSpan, at places: [Place], into destination: inout MutableRawSpan,
        isReadLater: Bool = false, meanwhile: (inout PlaneJoining) -> Void = { _ in }
    ) {
        let count = destination.byteCount / width
        precondition(
            destination.byteCount % width == 0 && places.count == width
                && places.allSatisfy {
                    $0.offset >= 0 && $0.offset <= ($0.isDecoded ? decoded : encoded).byteCount - count
                })
        var joining = PlaneJoining()
        if count == 0 { return meanwhile(&joining) }
        unsafe encoded.withUnsafeBytes { encoded in
            unsafe decoded.withUnsafeBytes { decoded in
                unsafe destination.withUnsafeMutableBytes { destination in
                    let planes: [UnsafePointer<UInt8>?] = unsafe places.map { place in
                        let start = unsafe (place.isDecoded ? decoded : encoded).baseAddress! + place.offset
                        return unsafe start.assumingMemoryBound(to: UInt8.self)
                    }
                    let (width, rotation) = (Int32(width), Int32(rotation))
                    if isReadLater {
                        unsafe nnstore_planes_begin_joining(
                            &joining.lines, planes, destination.baseAddress, count, width, rotation)
                        meanwhile(&joining)
                        unsafe nnstore_planes_finish_joining(&joining.lines)
                    } else {
                        unsafe nnstore_planes_join(planes, destination.baseAddress, count, width, rotation)
                        meanwhile(&joining)
                    }
                }
            }
        }
    }
}

/// Planes that are being joined by ``PlaneTransform/join(encoded:decoded:at:into:isReadLater:meanwhile:)``, or none.
///
/// Sound: it can't be copied, and who made it takes it back before what it points to goes away.
@safe struct PlaneJoining: ~Copyable {
    fileprivate(set) var lines = unsafe nnstore_planes_joining()

    /// Calls `body` with what goes on with the joining (nnstore_huffman_decode).
    mutating func withLines(_ body: (UnsafeMutablePointer<nnstore_planes_joining>) -> Void) {
        unsafe withUnsafeMutablePointer(to: &lines) { unsafe body($0) }
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
