import NNStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// What the program prints: one JSON object a line, so that what was found before a crash is there.
enum Report {
    enum Value {
        case text(String)
        case number(Double)
        case integer(Int)
        case flag(Bool)
    }

    /// Prints a line about a phase.
    static func print(_ phase: String, _ fields: KeyValuePairs<String, Value>) {
        var line = "{\"phase\": \(quoted(phase))"
        for (key, value) in fields {
            line += ", \(quoted(key)): "
            switch value {
            case .text(let text): line += quoted(text)
            case .number(let number): line += number.isFinite ? "\((number * 1000).rounded() / 1000)" : "null"
            case .integer(let integer): line += "\(integer)"
            case .flag(let flag): line += flag ? "true" : "false"
            }
        }
        Swift.print(line + "}")
        fflush(nil)
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case let control where control.value < 0x20:
                let digits = String(control.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
