import Foundation
import Testing

/// What a program printed and returned.
struct Outcome {
    let status: Int32
    let output: String
    let error: String

    /// Standard output as a JSON object.
    var json: [String: Any] {
        get throws {
            try #require(JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any], "\(output) \(error)")
        }
    }
}

/// The built ckpt-tool, and other programs that tests run.
enum Tool {
    /// The folder of Package.swift.
    static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The ckpt-tool that was built with these tests: it lies beside the test bundle.
    static let path: String = {
        let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        let folder = URL(fileURLWithPath: bundle).deletingLastPathComponent()
        return folder.appendingPathComponent("ckpt-tool").path
    }()

    /// The Python with the modules that tests compare with; `nil` where they could not be installed.
    static let python: String? = {
        let folder = repository.appendingPathComponent(".venv")
        let isComplete = FileManager.default.fileExists(atPath: folder.appendingPathComponent("complete").path)
        return isComplete ? folder.appendingPathComponent("bin/python").path : nil
    }()

    /// Says why a test that needs Python is passed over.
    static func pythonOrReason(_ test: String = #function) -> String? {
        if python == nil {
            print(
                "passed over \(test): the Python modules are not there; `make test` installs them where it can reach PyPI"
            )
        }
        return python
    }

    /// Runs ckpt-tool.
    static func run(_ arguments: String..., in folder: String? = nil) throws -> Outcome {
        try start(path, arguments, in: folder)
    }

    /// Runs a program and waits for it.
    static func start(
        _ program: String, _ arguments: [String], in folder: String? = nil, environment: [String: String] = [:]
    ) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
        let output = Pipe()
        let error = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = error
        try process.run()
        let errorText = Reading(error.fileHandleForReading)
        let outputText = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            status: process.terminationReason == .uncaughtSignal
                ? -process.terminationStatus : process.terminationStatus,
            output: String(decoding: outputText, as: UTF8.self), error: String(decoding: errorText.data, as: UTF8.self))
    }

    /// Reads a pipe on a thread of its own, so that neither pipe of a program fills up.
    ///
    /// Sendable because the contents are written before the semaphore is signalled, and read after it was waited for.
    private final class Reading: @unchecked Sendable {
        private var contents = Data()
        private let done = DispatchSemaphore(value: 0)

        init(_ handle: FileHandle) {
            Thread.detachNewThread { [self] in
                contents = handle.readDataToEndOfFile()
                done.signal()
            }
        }

        var data: Data {
            done.wait()
            return contents
        }
    }
}

/// A folder that goes away with the object.
final class TemporaryFolder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("nnstore-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func path(_ name: String) -> String { path + "/" + name }

    /// The names in the folder.
    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
}
