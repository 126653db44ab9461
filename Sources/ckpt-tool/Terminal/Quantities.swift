#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Sizes, rates and numbers for a person.
enum Quantities {
    /// A size with three digits: `97 KiB`, `1.52 MiB`; small ones in bytes.
    static func bytes(_ count: Int) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return "\(unit == 0 ? String(count) : digits(value)) \(units[unit])"
    }

    /// A part of a whole: `76 %`.
    static func percent(_ part: Int, of whole: Int) -> String {
        whole == 0 ? "100 %" : "\(fixed(100 * Double(part) / Double(whole), 0)) %"
    }

    /// A rate in decimal gigabytes a second, or megabytes if it is less than a tenth of that.
    static func rate(_ bytes: Int, seconds: Double) -> String {
        let rate = Double(bytes) / max(seconds, 1e-9)
        return rate < 1e8 ? "\(fixed(rate / 1e6, 1)) MB/s" : "\(fixed(rate / 1e9, 2)) GB/s"
    }

    /// Seconds: `0.11 s`, `75 s`.
    static func seconds(_ seconds: Double) -> String {
        seconds < 10 ? "\(fixed(seconds, 2)) s" : "\(fixed(seconds, 0)) s"
    }

    /// A count with its noun: `1 tensor`, `8 tensors`.
    static func count(_ count: Int, _ noun: String) -> String {
        "\(grouped(count)) \(noun)\(count == 1 ? "" : "s")"
    }

    /// Digits in groups of three: `32 768`.
    static func grouped(_ value: Int) -> String {
        var digits = String(value.magnitude)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits.removeLast(3)
        }
        return (value < 0 ? "-" : "") + ([digits] + groups).joined(separator: "\u{2009}")
    }

    /// A value of a tensor with four significant digits: `-0.412`, `1.5e-08`, `7`.
    static func value(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-infinity" : "infinity" }
        return format("%.4g", value)
    }

    /// Three significant digits, without an exponent.
    private static func digits(_ value: Double) -> String {
        fixed(value, value >= 100 ? 0 : value >= 10 ? 1 : 2)
    }

    /// A fixed number of decimals.
    static func fixed(_ value: Double, _ decimals: Int) -> String { format("%.\(decimals)f", value) }

    private static func format(_ format: String, _ value: Double) -> String {
        var buffer = [CChar](repeating: 0, count: 64)
        _ = withVaList([value]) { vsnprintf(&buffer, buffer.count, format, $0) }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
