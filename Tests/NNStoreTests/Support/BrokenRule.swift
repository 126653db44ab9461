import Testing

@testable import NNStore

/// A rule of the specification, and the SQL that makes an index break it.
struct BrokenRule: Sendable, CustomTestStringConvertible {
    let rule: String
    let sql: String
    /// Whether only full verification needs to find it.
    var fullOnly = false
    var testDescription: String { rule }

    /// Breaks the rule in a sound container and puts all checksums right. Opening or reading has to refuse what comes
    /// out, if a load can tell, and full verification has to report it.
    func check(_ sound: [UInt8]) throws {
        var forger = Forger(sound)
        try forger.run(sql)
        let bytes = forger.container()
        do {
            let checkpoint = try Checkpoint.open(MemorySource(bytes))
            let report = try checkpoint.verify()
            #expect(!report.isSound, "\(rule)")
            if !fullOnly {
                let error = #expect(throws: StoreError.self, "\(rule)") {
                    _ = try checkpoint.tensors
                    _ = try checkpoint.metadata
                    _ = try checkpoint.readAll()
                }
                #expect(error?.code == "damaged", "\(error!)")
            }
            // Looking one entry up touches less, and may pass or fail, but never ends the process.
            for name in ["w", "view", "z"] {
                _ = try? checkpoint.tensor(name)
                _ = try? checkpoint.read(name)
                _ = try? checkpoint.read(name, rows: 1..<3)
            }
        } catch let error as StoreError {
            #expect(error.code == "damaged", "\(error)")
        }
    }
}
