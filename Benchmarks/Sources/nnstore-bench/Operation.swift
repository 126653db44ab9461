import Foundation
import NNStore

/// One thing that is timed.
struct Operation {
    let name: String
    /// The file that it writes or reads.
    var file: String?
    /// What has to be there before; not timed.
    var prepare: (Subject) throws -> Void = { _ in }
    /// What the work leaves in memory because it was asked for.
    var ownBytes: (Subject) -> Int = { _ in 0 }
    /// The work; what it returns is freed after the clock has stopped.
    let body: (Subject) throws -> Any

    static var all: [Operation] {
        [
            Operation(name: "encode (memory)", prepare: { try $0.prepareBuffer() }, body: { try $0.encode() }),
            Operation(
                name: "decode (memory)", prepare: { try $0.prepareEncoded() }, body: { try $0.decode() }),
            save("save", .fast, isDurable: false), save("save+fsync", .fast, isDurable: true),
            load("load", .fast), openOne("open+one", .fast),
            Operation(
                name: "list", file: "fast", prepare: { try $0.prepareFile(.fast) },
                // Each entry has name, dtype and shape.
                body: { try Checkpoint.open($0.path("fast")).tensors }),
            Operation(
                name: "verify", file: "fast", prepare: { try $0.prepareFile(.fast) },
                body: { try Checkpoint.open($0.path("fast")).verify(.full, threads: $0.threads) }),
            save("save+fsync none", Compression.none, isDurable: true), load("load none", Compression.none),
            Operation(
                name: "open+one none", file: "none", prepare: { try $0.prepareFile(Compression.none) },
                body: { try Checkpoint.open($0.path("none")).map($0.smallest) }),
        ]
    }

    private static func save(_ name: String, _ compression: Compression, isDurable: Bool) -> Operation {
        Operation(
            name: name, file: compression.rawValue,
            prepare: {
                $0.remove(compression.rawValue)
                sync()
            },
            body: { try $0.save(compression, isDurable: isDurable) })
    }

    private static func load(_ name: String, _ compression: Compression) -> Operation {
        Operation(
            name: name, file: compression.rawValue, prepare: { try $0.prepareFile(compression) },
            ownBytes: { $0.logicalBytes },
            body: { try Checkpoint.open($0.path(compression.rawValue)).readAll(threads: $0.threads) })
    }

    private static func openOne(_ name: String, _ compression: Compression) -> Operation {
        Operation(
            name: name, file: compression.rawValue, prepare: { try $0.prepareFile(compression) },
            body: { try Checkpoint.open($0.path(compression.rawValue)).read($0.smallest, threads: 1) })
    }
}
