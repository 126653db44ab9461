import CCodec

/// Decodes zstd frames that consist of literals, which is what planes of exponents are (``LiteralFrameEncoder``), about
/// twice as fast as libzstd: a look-up gives up to six bytes where libzstd's gives two.
///
/// Other frames, and frames in which anything is not as it should be, it leaves to libzstd, so libzstd alone says what
/// is wrong with a frame.
///
/// Sound: `entries` is allocated and freed by this object alone; what is read and written through pointers is bounded
/// where it happens, and huffman.h says what the C functions rely on.
@safe final class LiteralFrameDecoder {
    private var code = HuffmanCode()
    /// Whether `code` is one of the frame that is being decoded.
    private var hasCode = false
    /// For each window of bits the bytes that it decodes to, as huffman.h describes them.
    private let entries: UnsafeMutablePointer<UInt64>

    private static let windowBits = HuffmanCode.longest
    private static let smallestStream = 8

    init() {
        unsafe entries = .allocate(capacity: 2 << LiteralFrameDecoder.windowBits)
        unsafe entries.initialize(repeating: 0, count: 2 << LiteralFrameDecoder.windowBits)
    }

    deinit { unsafe entries.deallocate() }

    /// Decodes one frame that fills `frame` and decodes to just `destination`'s size. Returns whether it did; if it did
    /// not, what is in `destination` means nothing.
    func decode(_ frame: RawSpan, into destination: inout MutableRawSpan) -> Bool {
        guard begin(frame, contentSize: destination.byteCount) else { return false }
        var nothing = PlaneJoining()
        while !isFinished {
            let rest = filled..<destination.byteCount
            guard destination.withBytes(in: rest, { decodeBlock(of: frame, into: &$0, besides: &nothing) }) != nil
            else {
                return false
            }
        }
        return true
    }

    /// Where the next block begins.
    private var position = 0
    /// How many bytes the blocks so far have, and all are to have.
    private var filled = 0
    private var contentSize = 0
    /// Whether all blocks of the frame were decoded, it has the content's size, and nothing is behind it.
    private(set) var isFinished = true

    /// Begins a frame, which is to be decoded block by block. Returns whether its header allows it.
    func begin(_ frame: RawSpan, contentSize: Int) -> Bool {
        guard let position = LiteralFrameDecoder.blocks(frame, contentSize: contentSize) else { return false }
        self.position = position
        self.contentSize = contentSize
        filled = 0
        hasCode = false
        isFinished = false
        return true
    }

    /// Decodes the next block of the frame that was begun to the beginning of `destination`, which has room for all that
    /// is left of its content or for a largest block, and returns how many bytes it has; `nil` if it is not a block of
    /// literals, or anything else is not as it should be.
    ///
    /// - Parameters:
    ///   - ahead: what is wanted next: on the way it is brought into the processor's cache.
    ///   - joining: what is gone on with on the way.
    func decodeBlock(
        of frame: RawSpan, into destination: inout MutableRawSpan, ahead: RawSpan = RawSpan(),
        besides joining: inout PlaneJoining
    ) -> Int? {
        // Block headers: RFC 8878 section 3.1.1.2.
        guard !isFinished, position <= frame.byteCount - 3 else { return nil }
        let low = Int(frame.littleEndian(at: position, as: UInt16.self))
        let header = low | Int(frame.littleEndian(at: position + 2, as: UInt8.self)) << 16
        let start = position + 3
        // A block has at most 128 KiB, or the window's size; libzstd wants less where it is compressed.
        let size = header >> 3
        let room = min(destination.byteCount, contentSize - filled)
        guard size <= min(LiteralFrameEncoder.largestBlock, contentSize) else { return nil }
        let count: Int
        switch header >> 1 & 3 {
        case 0:
            guard size <= frame.byteCount - start, size <= room else { return nil }
            destination.copy(frame.extracting(start..<start + size))
            position = start + size
            count = size
        case 1:
            guard start < frame.byteCount, size <= room else { return nil }
            let byte = frame.littleEndian(at: start, as: UInt8.self)
            destination.withBytes(in: 0..<size) { $0.fill(byte) }
            position = start + 1
            count = size
        case 2:
            guard size < LiteralFrameEncoder.largestBlock, size <= frame.byteCount - start else { return nil }
            let block = frame.extracting(start..<start + size)
            guard
                let decoded = destination.withBytes(
                    in: 0..<room, { decodeLiterals(block, into: &$0, ahead, &joining) })
            else { return nil }
            position = start + size
            count = decoded
        default:
            return nil
        }
        filled += count
        if header & 1 != 0 {
            guard position == frame.byteCount, filled == contentSize else { return nil }
            isFinished = true
        }
        return count
    }

    /// Where the blocks of a frame begin (RFC 8878 section 3.1.1.1); `nil` unless it is a single segment without
    /// dictionary and checksum whose content has the size.
    private static func blocks(_ frame: RawSpan, contentSize: Int) -> Int? {
        guard frame.byteCount >= 9, frame.littleEndian(at: 0, as: UInt32.self) == 0xfd2f_b528 else { return nil }
        switch frame.littleEndian(at: 4, as: UInt8.self) {
        case 0x20: return Int(frame.littleEndian(at: 5, as: UInt8.self)) == contentSize ? 6 : nil
        case 0x60: return Int(frame.littleEndian(at: 5, as: UInt16.self)) + 256 == contentSize ? 7 : nil
        case 0xa0: return Int(frame.littleEndian(at: 5, as: UInt32.self)) == contentSize ? 9 : nil
        default: return nil
        }
    }

    /// Decodes a compressed block without sequences, whose literals are four streams of Huffman codes, and returns how
    /// many bytes it has; `nil` if it is anything else.
    private func decodeLiterals(
        _ block: RawSpan, into destination: inout MutableRawSpan, _ ahead: RawSpan, _ joining: inout PlaneJoining
    ) -> Int? {
        // Literals section header: RFC 8878 section 3.1.1.3.1.1.
        guard block.byteCount >= 8 else { return nil }
        let header = block.littleEndian(at: 0, as: UInt64.self)
        let (headerSize, sizeBits): (Int, UInt64)
        switch header >> 2 & 3 {
        case 1: (headerSize, sizeBits) = (3, 10)
        case 2: (headerSize, sizeBits) = (4, 14)
        case 3: (headerSize, sizeBits) = (5, 18)
        default: return nil
        }
        let mask = 1 << sizeBits - 1 as UInt64
        let count = Int(header >> 4 & mask)
        let encodedSize = Int(header >> (4 + sizeBits) & mask)
        // Behind the literals stands only the number of sequences, 0.
        guard count <= min(destination.byteCount, LiteralFrameEncoder.largestBlock),
            headerSize + encodedSize + 1 == block.byteCount,
            block.littleEndian(at: block.byteCount - 1, as: UInt8.self) == 0
        else { return nil }
        var streams = block.extracting(headerSize..<headerSize + encodedSize)
        switch header & 3 {
        case 2:
            guard let size = code.read(streams) else { return nil }
            // Sound: there are 1 << 11 windows and 2 << 11 entries.
            unsafe code.windows.withUnsafeBufferPointer { unsafe nnstore_huffman_fill($0.baseAddress, entries) }
            hasCode = true
            streams = streams.extracting(size...)
        case 3:
            // The code of the last block that had one.
            guard hasCode else { return nil }
        default:
            return nil
        }
        return destination.withBytes(in: 0..<count) { decodeStreams(streams, into: &$0, ahead, &joining) } ? count : nil
    }

    /// Decodes four streams (RFC 8878 section 4.2.2) to just `destination`'s size. Returns whether they are valid.
    private func decodeStreams(
        _ bytes: RawSpan, into destination: inout MutableRawSpan, _ ahead: RawSpan, _ joining: inout PlaneJoining
    ) -> Bool {
        let tableSize = 6
        guard bytes.byteCount > tableSize else { return false }
        var sizes = (0..<3).map { Int(bytes.littleEndian(at: 2 * $0, as: UInt16.self)) }
        sizes.append(bytes.byteCount - tableSize - sizes.reduce(0, +))
        let count = destination.byteCount
        let quarter = (count + 3) / 4
        guard sizes.allSatisfy({ $0 >= LiteralFrameDecoder.smallestStream }), 3 * quarter < count else { return false }
        return unsafe bytes.withUnsafeBytes { bytes in
            unsafe destination.withUnsafeMutableBytes { destination in
                let from = unsafe bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
                let to = unsafe destination.baseAddress!.assumingMemoryBound(to: UInt8.self)
                // Sound: the sizes add up to what is behind the table of sizes, and the four places to `count` bytes;
                // each stream has the 8 bytes that `next` needs.
                var start = unsafe from + tableSize
                var streams: [nnstore_huffman_stream] = unsafe []
                for (number, size) in sizes.enumerated() {
                    let last = unsafe start[size - 1]
                    // The highest 1 of the last byte marks the end.
                    guard last != 0 else { return false }
                    let next = unsafe start + (size - 8)
                    let bits = unsafe UInt64(littleEndian: UnsafeRawPointer(next).loadUnaligned(as: UInt64.self))
                    unsafe streams.append(
                        nnstore_huffman_stream(
                            start: start, next: next, bits: (bits | 1) << UInt64(last.leadingZeroBitCount + 1),
                            out: to + number * quarter, end: to + min(count, (number + 1) * quarter)))
                    unsafe start += size
                }
                unsafe ahead.withUnsafeBytes { ahead in
                    let next = unsafe ahead.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    unsafe joining.withLines { lines in
                        unsafe nnstore_huffman_decode(
                            entries + (1 << LiteralFrameDecoder.windowBits), &streams, next,
                            next.map { unsafe $0 + ahead.count }, lines)
                    }
                }
                return unsafe streams.allSatisfy { unsafe finish($0) }
            }
        }
    }

    /// Decodes the last bytes of a stream one after another. Returns whether its bits end with its bytes.
    private func finish(_ stream: nnstore_huffman_stream) -> Bool {
        // So many bits from `start` on are left.
        var rest = unsafe (stream.next - stream.start) * 8 + 64 - stream.bits.trailingZeroBitCount
        return unsafe code.windows.withUnsafeBufferPointer { windows in
            var out = unsafe stream.out!
            while unsafe out < stream.end! {
                // The window ends at bit `rest` and is zero where the stream has no bits any more.
                let end = rest / 8
                var window = 0
                for byte in max(0, end - 2)...end {
                    // Sound: `rest` is at most the number of the stream's bits.
                    if byte * 8 < rest { window |= unsafe Int(stream.start[byte]) << (8 * (byte - end + 2)) }
                }
                window =
                    window >> (16 + rest % 8 - LiteralFrameDecoder.windowBits)
                    & (1 << LiteralFrameDecoder.windowBits - 1)
                let found = unsafe windows[window]
                rest -= Int(found >> 8)
                if rest < 0 { return false }
                unsafe out.pointee = UInt8(truncatingIfNeeded: found)
                unsafe out += 1
            }
            return rest == 0
        }
    }
}
