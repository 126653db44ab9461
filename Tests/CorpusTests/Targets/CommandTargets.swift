import ArgumentParser
import Foundation
import NNStore
@testable import ckpt_tool

/// The commands that strangers' files are given to first, as the program runs them.
enum CommandTargets {
    static func list(_ bytes: [UInt8]) throws {
        let ways = [[], ["--json", "--digest"], ["--tree"]]
        try withFile(bytes) { path in
            let command = try ListCommand.parse([path] + ways[Int(bytes.last ?? 0) % ways.count])
            try command.run()
        }
    }

    static func verify(_ bytes: [UInt8]) throws {
        let levels = ["structure", "checksums", "full"]
        try withFile(bytes) { path in
            let command = try VerifyCommand.parse([path, "--level", levels[Int(bytes.last ?? 0) % levels.count]])
            try command.run()
        }
    }

    /// Calls `body` with the path of a file that has the bytes.
    private static func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("nnstore-fuzzed-\(ProcessInfo.processInfo.processIdentifier)-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: url) }
        try Data(bytes).write(to: url)
        try body(url.path)
    }
}
