@testable import NNInterop
@testable import NNStore

enum InteropTargets {
    /// Reads one pickle after another, as a PyTorch file of the old kind has them.
    static func pickle(_ bytes: [UInt8]) throws {
        var input = PickleInput(bytes, name: "fuzzed")
        while true {
            _ = try PickleMachine.read(&input, limits: ReadLimits(maximumBytesInMemory: 16 << 20)) { _ in }
        }
    }

    /// Reads all entries of an archive.
    static func zip(_ bytes: [UInt8]) throws {
        let source = MemorySource(bytes, name: "fuzzed")
        let archive = try ZipArchive(source, SourceVersion(byteCount: bytes.count), options: FilesTarget.options(0))
        for entry in archive.entries {
            do {
                _ = try archive.bytes(of: entry)
            } catch {
                _ = "\(error)"
            }
        }
    }
}
