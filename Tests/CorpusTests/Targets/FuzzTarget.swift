import NNStore

/// What libFuzzer calls with inputs of its making (`make fuzz`), and the tests with those that found something.
///
/// Everything that a reader throws is fine; traps, endless work, memory without bounds, and wrong data are not.
package enum FuzzTarget: String, CaseIterable, Sendable {
    // Files of one format each; all are read by the same code, which recognises them.
    case pytorch, numpy, gguf, safetensors, container, shards
    /// A pickle without an archive around it, whose checksums would keep changes out.
    case pickle
    /// An archive, all of whose entries are read.
    case zip
    /// The encoded bytes of one chunk, with the checksums that they should have.
    case chunk
    /// One zstd frame, for our decoder and for libzstd's: what one makes of it, the other must too.
    case frame
    /// Bytes that are encoded in every way, and must come back.
    case roundtrip
    /// A container whose checksums are put right, so that what stands behind them is reached.
    case index
    /// `ckpt-tool list`
    case list
    /// `ckpt-tool verify`
    case verify
    /// `ckpt-tool recover`
    case recover

    /// What a reader must not do, whatever the input is.
    package struct Finding: Error, CustomStringConvertible {
        package let description: String
        init(_ description: String) { self.description = description }
    }

    /// Runs the target on one input.
    ///
    /// - Throws: ``Finding`` for a wrong answer. What a reader throws is a right one.
    package func run(_ bytes: [UInt8]) throws(Finding) {
        do {
            switch self {
            case .pytorch, .numpy, .gguf, .safetensors, .container, .shards: try FilesTarget.run(bytes)
            case .pickle: try InteropTargets.pickle(bytes)
            case .zip: try InteropTargets.zip(bytes)
            case .chunk: try CodecTargets.chunk(bytes)
            case .frame: try CodecTargets.frame(bytes)
            case .roundtrip: try CodecTargets.roundtrip(bytes)
            case .index: try ContainerTargets.read(ContainerRepair.repaired(bytes))
            case .list: try CommandTargets.list(bytes)
            case .verify: try CommandTargets.verify(bytes)
            case .recover: try ContainerTargets.recover(bytes)
            }
        } catch let finding as Finding {
            throw finding
        } catch {
            // Messages are made of what a file says, too.
            _ = "\(error)"
        }
    }

    /// Whether inputs are containers, which are changed in ways of their own (``ContainerMutator``).
    package var takesContainers: Bool {
        switch self {
        case .container, .index, .list, .verify, .recover: true
        default: false
        }
    }
}
