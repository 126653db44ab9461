import NNInterop
import NNStore
import Testing

@Suite("Every rule of a zip archive has an error of its own")
struct ArchiveRuleTests {
    private func code(_ bytes: [UInt8], _ options: OpenOptions = OpenOptions()) -> String? {
        do {
            let file = try CheckpointFiles.open(MemorySource(bytes, name: "file.npz"), options: options)
            for tensor in try file.state().tensors { _ = try elements(tensor.tensor) }
            return nil
        } catch let error as InteropError {
            #expect(error.description.contains("file.npz"))
            return error.code
        } catch {
            return "\(error)"
        }
    }

    private let array = npy("|u1", [5], [1, 2, 3, 4, 5])
    private var entry: ZipBytes.Entry { ZipBytes.Entry("a.npy", array) }

    private func code(_ change: (inout ZipBytes.Entry) -> Void) -> String? {
        code(ZipBytes([ZipBytes.Entry("b.npy", array), entry.with(change)]).bytes)
    }

    @Test("archives as others write them are read")
    func good() {
        #expect(code(ZipBytes([]).bytes) == nil)
        #expect(code { _ in } == nil)
        #expect(code { $0.flags = 0x0800 } == nil)
        #expect(code(ZipBytes([entry], comment: Array("made by hand".utf8)).bytes) == nil)
        // Sizes behind the bytes, in 16 and in 24 bytes, and for an empty entry nowhere.
        let crc = crc32(array)
        let size = array.count
        let signature = le(0x0807_4b50, 4) + le(Int(crc), 4)
        for descriptor in [signature + le(size, 4) + le(size, 4), signature + le(size, 8) + le(size, 8)] {
            #expect(
                code {
                    $0.flags = 8
                    $0.localCRC = 0
                    $0.localSize = 0
                    $0.descriptor = descriptor
                } == nil)
        }
        // As NumPy writes its entries: large fields for small sizes.
        #expect(
            code {
                $0.localSize = .max
                $0.localExtra = le(1, 2) + le(16, 2) + le(size, 8) + le(size, 8)
            } == nil)
        // As PyTorch pads.
        #expect(code { $0.localExtra = Array("FB".utf8) + le(7, 2) + [UInt8](repeating: 0x5a, count: 7) } == nil)
        // Compressed, in the simplest way.
        let encoded = deflated(array)
        #expect(
            code {
                $0.bytes = encoded
                $0.method = 8
            } == nil)
        // No checksums at all.
        let none = [ZipBytes.Entry("a.npy", array), ZipBytes.Entry("b.npy", array)].map { $0.with { $0.crc = 0 } }
        #expect(code(ZipBytes(none).bytes) == nil)
    }

    @Test("the end record")
    func end() {
        let good = ZipBytes([entry]).bytes
        #expect(code(Array(good.dropLast())) == "archive-no-end")
        #expect(code(good + [0]) == "archive-no-end")
        #expect(code(ZipBytes([entry], count: 2).bytes) == "archive-structure")
        #expect(code(ZipBytes([entry], count: 0).bytes) == "archive-structure")
        // An end record in the comment of another one.
        let inner = ZipBytes([]).bytes
        #expect(code(ZipBytes([entry], comment: inner).bytes) == "archive-several-ends")
        var parts = good
        parts[parts.count - 18] = 1
        #expect(code(parts) == "archive-several-parts")
        var offset = good
        offset[offset.count - 6] ^= 1
        #expect(code(offset) == "archive-structure")
        #expect(code(ZipBytes([entry], count: 0xffff).bytes) == "archive-structure")
    }

    @Test("what the directory says and what the entry says has to be the same")
    func contradictions() {
        #expect(code { $0.localName = "b.npy" } == "archive-contradiction")
        #expect(code { $0.localName = "a.npz" } == "archive-contradiction")
        #expect(code { $0.localFlags = 0x0800 } == "archive-contradiction")
        #expect(code { $0.localMethod = 8 } == "archive-contradiction")
        #expect(code { $0.localSize = 7 } == "archive-contradiction")
        #expect(code { $0.localCRC = 7 } == "archive-contradiction")
        #expect(code { $0.localSize = 0 } == "archive-contradiction")
        #expect(
            code {
                $0.flags = 8
                $0.localCRC = 0
                $0.descriptor = le(0x0807_4b50, 4) + le(7, 4) + le($0.bytes.count, 4) + le($0.bytes.count, 4)
            } == "archive-contradiction")
    }

    @Test("flags and methods that change what the bytes are")
    func flags() {
        #expect(code { $0.flags = 1 } == "archive-flag")
        #expect(code { $0.flags = 0x20 } == "archive-flag")
        #expect(code { $0.flags = 0x41 } == "archive-flag")
        #expect(code { $0.flags = 0x2000 } == "archive-flag")
        for method: UInt16 in [1, 9, 12, 14, 93, 99] { #expect(code { $0.method = method } == "archive-method") }
    }

    @Test("entries that lie over each other or over the directory, and names that are there twice")
    func places() {
        #expect(code { $0.offset = 0 } == "archive-contradiction" || code { $0.offset = 0 } == "archive-overlap")
        let twice = [entry, ZipBytes.Entry("b.npy", array).with { $0.offset = 4 }]
        #expect(code(ZipBytes(twice).bytes) == "archive-overlap")
        #expect(code { $0.offset = 1 << 30 } == "archive-overlap")
        #expect(code(ZipBytes([entry, entry]).bytes) == "archive-duplicate")
        let long = entry.with {
            $0.directorySize = 1 << 20
            $0.localSize = 1 << 20
        }
        #expect(code(ZipBytes([long]).bytes) == "archive-overlap")
    }

    @Test("large fields that are missing, torn or twice")
    func wide() {
        #expect(code { $0.directorySize = .max } == "archive-structure")
        #expect(
            code {
                $0.directorySize = .max
                $0.extra = le(1, 2) + le(8, 2) + le(5, 8)
            } == "archive-structure")
        #expect(
            code {
                $0.directorySize = .max
                $0.extra = le(1, 2) + le(16, 2) + le(-1, 8) + le(-1, 8)
            } == "archive-structure")
        #expect(code { $0.extra = le(1, 2) + le(100, 2) } == "archive-structure")
        #expect(
            code { $0.extra = le(1, 2) + le(8, 2) + le(1, 8) + le(1, 2) + le(8, 2) + le(1, 8) } == "archive-structure")
    }

    @Test("damaged bytes are found, stored and compressed")
    func checksums() {
        #expect(code { $0.bytes[$0.bytes.count - 1] ^= 1 } == "archive-checksum")
        let encoded = deflated(array)
        func compressed(_ bytes: [UInt8], _ size: Int? = nil) -> String? {
            code {
                $0.bytes = bytes
                $0.method = 8
                $0.byteCount = size ?? $0.byteCount
                $0.localSize = UInt32(bytes.count)
                if bytes.count != $0.byteCount { $0.localSize = nil }
            }
        }
        var changed = encoded
        changed[changed.count - 1] ^= 1
        #expect(compressed(changed) == "archive-checksum")
        #expect(compressed(Array(encoded.dropLast())) == "archive-deflate")
        #expect(compressed(encoded + [0]) == "archive-deflate")
        #expect(compressed(encoded, array.count + 1) == "archive-deflate")
        #expect(compressed([7] + encoded.dropFirst()) == "archive-deflate")
    }

    @Test("compressed entries can't become out of all proportion to the file")
    func bombs() {
        let bomb = entry.with {
            $0.bytes = deflated($0.bytes)
            $0.method = 8
            $0.byteCount = 40 << 20
        }
        #expect(code(ZipBytes([bomb]).bytes) == "limit-exceeded")
        #expect(code(ZipBytes([bomb]).bytes, OpenOptions(maximumDecodedByteCount: 1 << 30)) == "archive-deflate")
    }

    @Test("flipped and cut bytes never trap")
    func damage() {
        let encoded = deflated(array)
        let archive = ZipBytes([
            entry,
            ZipBytes.Entry("b.npy", array).with {
                $0.bytes = encoded
                $0.method = 8
            },
        ]).bytes
        for position in archive.indices {
            for bit in 0..<8 {
                var damaged = archive
                damaged[position] ^= 1 << UInt8(bit)
                _ = code(damaged)
            }
            #expect(code(Array(archive[..<position])) != nil)
        }
    }
}
