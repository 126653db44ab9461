import CZlib
import NNStore

/// The CRC-32 of zip archives, piece by piece.
enum Checksum32 {
    /// The checksum of what had `checksum`, followed by `bytes`.
    ///
    /// Sound because zlib reads just the span's bytes, and keeps no pointer.
    static func appending(_ bytes: RawSpan, to checksum: UInt32 = 0) -> UInt32 {
        unsafe bytes.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return checksum }
            return unsafe UInt32(
                truncatingIfNeeded: crc32_z(UInt(checksum), start.assumingMemoryBound(to: UInt8.self), bytes.count))
        }
    }
}

extension Checksum32 {
    /// The checksum of what had `first`, followed by `byteCount` bytes that have `second`.
    static func joining(_ first: UInt32, _ second: UInt32, byteCount: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: crc32_combine(UInt(first), UInt(second), byteCount))
    }
}

/// Decodes a raw deflate stream, piece by piece. Source: RFC 1951; zlib does the work.
///
/// Sound because the stream has a place of its own in memory from `init` to `deinit`, as zlib wants it, and is given spans' bytes
/// only during a call.
@safe final class Inflater {
    private let stream: UnsafeMutablePointer<z_stream>

    enum Failure: Error {
        /// What is wrong with the stream.
        case invalid
        case memory
    }

    init() throws(Failure) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe nnstore_inflate_begin(stream) == Z_OK else {
            unsafe stream.deallocate()
            throw .memory
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Decodes from `input` to `output` until one of them, or the stream, ends.
    ///
    /// - Returns: how many bytes were taken and given, and whether the stream has ended.
    func inflate(
        _ input: RawSpan, into output: inout MutableRawSpan
    ) throws(Failure) -> (taken: Int, given: Int, isAtEnd: Bool) {
        let (available, room) = (min(input.byteCount, 1 << 30), min(output.byteCount, 1 << 30))
        let status = unsafe input.withUnsafeBytes { input in
            unsafe output.withUnsafeMutableBytes { output in
                // zlib does not write to its input.
                unsafe stream.pointee.next_in = UnsafeMutablePointer(
                    mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
                unsafe stream.pointee.avail_in = UInt32(available)
                unsafe stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
                unsafe stream.pointee.avail_out = UInt32(room)
                return unsafe CZlib.inflate(stream, Z_NO_FLUSH)
            }
        }
        let taken = unsafe available - Int(stream.pointee.avail_in)
        let given = unsafe room - Int(stream.pointee.avail_out)
        switch status {
        // Z_BUF_ERROR: nothing could be done with what was there.
        case Z_OK, Z_BUF_ERROR: return (taken, given, false)
        case Z_STREAM_END: return (taken, given, true)
        case Z_MEM_ERROR: throw .memory
        default: throw .invalid
        }
    }
}
