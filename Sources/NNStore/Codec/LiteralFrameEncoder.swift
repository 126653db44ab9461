import CZstd

/// Makes zstd frames of literals only: Huffman-coded bytes without a search for matches, several times faster than
/// zstd's fastest level and, on planes of exponents, smaller (DESIGN section 6).
///
/// The frames are ordinary ones: they are made by `ZSTD_compressSequences` from sequences that hold one block's
/// literals each. Sound for the same reasons as ``ZstdEncoder``.
@safe struct LiteralFrameEncoder: ~Copyable {
    private let context: OpaquePointer

    /// The most bytes that a zstd block may hold (RFC 8878 section 3.1.1.2.4).
    static let largestBlock = 128 << 10

    init() throws(StoreError) {
        guard let context = unsafe ZSTD_createCCtx() else {
            throw .library(name: "zstd", operation: "start compressing", message: "out of memory")
        }
        unsafe self.context = context
        // The fastest level; its strategy does not matter where nothing is searched. Its window is smaller than a chunk,
        // and only a frame whose window is its content is a single segment. None of these calls can fail.
        _ = unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1)
        _ = unsafe ZSTD_CCtx_setParameter(
            context, ZSTD_c_windowLog, Int32(FileLayout.chunkSize.trailingZeroBitCount))
        _ = unsafe ZSTD_CCtx_setParameter(
            context, nnstore_zstd_block_delimiters, Int32(ZSTD_sf_explicitBlockDelimiters.rawValue))
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    /// Encodes `source` as one frame at the beginning of `destination` and returns its size, or `nil` if the frame
    /// would not be shorter than `limit`. With less room than for the whole source and ``BufferPool/slack`` more, libzstd
    /// stores blocks that it could have shortened.
    ///
    /// - Parameter blockSize: the bytes of a block, each of which has a Huffman table of its own.
    mutating func encode(
        _ source: RawSpan, into destination: inout MutableRawSpan, shorterThan limit: Int,
        blockSize: Int = largestBlock
    ) throws(StoreError) -> Int? {
        // A sequence without a match ends a block and has its literals.
        let sequences = stride(from: 0, to: max(1, source.byteCount), by: blockSize).map { start in
            ZSTD_Sequence(
                offset: 0, litLength: UInt32(min(blockSize, source.byteCount - start)), matchLength: 0, rep: 0)
        }
        let context = unsafe self.context
        let size = unsafe destination.withUnsafeMutableBytes { destination in
            unsafe source.withUnsafeBytes { source in
                unsafe sequences.withUnsafeBufferPointer { sequences in
                    unsafe ZSTD_compressSequences(
                        context, destination.baseAddress, destination.count,
                        sequences.baseAddress, sequences.count, source.baseAddress, source.count)
                }
            }
        }
        // libzstd 1.5.4 calls a destination of a few bytes a workspace that is too small.
        let code = ZSTD_getErrorCode(size)
        if code == ZSTD_error_dstSize_tooSmall || code == ZSTD_error_workSpace_tooSmall { return nil }
        guard ZSTD_isError(size) == 0 else {
            throw .library(
                name: "zstd", operation: "compress literals", message: unsafe String(cString: ZSTD_getErrorName(size)))
        }
        return size < limit ? size : nil
    }
}
