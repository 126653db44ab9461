import ArgumentParser
import NNStore
import SystemPackage

/// Rules for names on the command line: `old=new,other=another`, or `@file` with one on each line.
struct RenamingArgument: ExpressibleByArgument {
    let rules: [PathRenaming.Rule]

    /// No file of rules is larger.
    private static let maximumSize = 16 << 20

    init?(argument: String) {
        let texts: [Substring]
        if argument.hasPrefix("@") {
            guard let text = try? RenamingArgument.contents(of: String(argument.dropFirst())) else {
                Terminal.error("error: \(printable(String(argument.dropFirst()))): can't be read as a file of rules")
                return nil
            }
            texts = text.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("#") }
        } else {
            texts = argument.split(separator: ",")
        }
        do {
            rules = try texts.map { try PathRenaming.Rule(String($0).trimmedSides) }
        } catch {
            Terminal.error("error: \(printable("\(error)"))")
            return nil
        }
        if rules.isEmpty { return nil }
    }

    private static func contents(of path: String) throws -> String? {
        let source = try FileSource(path: path)
        let (_, version) = try source.readEnd(0)
        guard version.byteCount <= maximumSize else { return nil }
        return String(validating: try source.bytes(0..<version.byteCount, of: version), as: UTF8.self)
    }
}

extension String {
    /// The text without spaces at its ends and around `=`.
    fileprivate var trimmedSides: String {
        split(separator: "=", omittingEmptySubsequences: false).map { side in
            String(side.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        }.joined(separator: "=")
    }
}
