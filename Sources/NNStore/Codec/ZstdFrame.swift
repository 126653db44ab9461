import CZstd

/// Makes zstd frames; one a thread, used again for each chunk.
///
/// Sound: the context is created and freed by this object alone, only one call uses it at a time (it can't be copied
/// and its methods are mutating), and libzstd gets sizes that the spans vouch for.
@safe struct ZstdEncoder: ~Copyable {
    private let context: OpaquePointer

    /// - Parameter level: zstd's, from 1 to 22.
    init(level: Int) throws(StoreError) {
        guard let context = unsafe ZSTD_createCCtx() else {
            throw .library(name: "zstd", operation: "start compressing", message: "out of memory")
        }
        unsafe self.context = context
        // libzstd clamps levels that it does not have; setting one can't fail.
        _ = unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(level))
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    /// Encodes `source` as one frame at the beginning of `destination` and returns its size, or `nil` if the frame
    /// would not be shorter than `limit`. Room for the whole source and
    /// ``BufferPool/slack`` more lets libzstd find the shortest.
    mutating func encode(
        _ source: RawSpan, into destination: inout MutableRawSpan, shorterThan limit: Int
    ) throws(StoreError) -> Int? {
        let context = unsafe self.context
        let size = unsafe destination.withUnsafeMutableBytes { destination in
            unsafe source.withUnsafeBytes { source in
                unsafe ZSTD_compress2(
                    context, destination.baseAddress, destination.count, source.baseAddress, source.count)
            }
        }
        if ZSTD_isError(size) != 0, ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall { return nil }
        let length = try ZstdEncoder.check(size, "compress")
        return length < limit ? length : nil
    }

    @discardableResult
    fileprivate static func check(_ result: Int, _ operation: String) throws(StoreError) -> Int {
        guard ZSTD_isError(result) == 0 else {
            throw .library(
                name: "zstd", operation: operation, message: unsafe String(cString: ZSTD_getErrorName(result)))
        }
        return result
    }
}

/// Decodes zstd frames; one a thread. Sound for the same reasons as ``ZstdEncoder``.
@safe struct ZstdDecoder: ~Copyable {
    private let context: OpaquePointer

    init() throws(StoreError) {
        guard let context = unsafe ZSTD_createDCtx() else {
            throw .library(name: "zstd", operation: "start decompressing", message: "out of memory")
        }
        unsafe self.context = context
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    /// What may be wrong with a frame, in words.
    struct BadFrame: Error {
        let reason: String
    }

    /// Decodes one frame, which must fill `frame` exactly and decode to exactly `destination`'s size, known from its
    /// header.
    mutating func decode(_ frame: RawSpan, into destination: inout MutableRawSpan) throws(BadFrame) {
        let (contentSize, frameSize) = unsafe frame.withUnsafeBytes { frame in
            unsafe (
                ZSTD_getFrameContentSize(frame.baseAddress, frame.count),
                ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count)
            )
        }
        guard contentSize != nnstore_zstd_content_size_error else { throw BadFrame(reason: "it is no zstd frame") }
        guard contentSize == UInt64(destination.byteCount) else {
            throw BadFrame(
                reason: contentSize == nnstore_zstd_content_size_unknown
                    ? "the zstd frame does not say how long its content is"
                    : "the zstd frame decodes to \(contentSize) bytes, expected \(destination.byteCount)")
        }
        guard ZSTD_isError(frameSize) == 0, frameSize == frame.byteCount else {
            throw BadFrame(reason: "the zstd frame does not fill its \(frame.byteCount) bytes")
        }
        // The frame header descriptor (RFC 8878 section 3.1.1.1.1) has bit 5 set: the window is the content, so no decoder
        // needs more memory than the chunk. No reserved bit, checksum or dictionary: the form that the format prescribes.
        guard frame.littleEndian(at: 4, as: UInt8.self) & 0x2f == 0x20 else {
            throw BadFrame(
                reason: "the zstd frame is no single segment, or has a checksum, a dictionary or a reserved bit")
        }
        let context = unsafe self.context
        let size = unsafe destination.withUnsafeMutableBytes { destination in
            unsafe frame.withUnsafeBytes { frame in
                unsafe ZSTD_decompressDCtx(
                    context, destination.baseAddress, destination.count, frame.baseAddress, frame.count)
            }
        }
        guard ZSTD_isError(size) == 0 else {
            throw BadFrame(reason: "zstd says: \(unsafe String(cString: ZSTD_getErrorName(size)))")
        }
        guard size == destination.byteCount else {
            throw BadFrame(reason: "the zstd frame decodes to \(size) bytes, expected \(destination.byteCount)")
        }
    }
}
