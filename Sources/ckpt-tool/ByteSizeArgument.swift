import ArgumentParser

/// `500MB`, `5GB`, `2GiB` or a number of bytes.
struct ByteSizeArgument: ExpressibleByArgument {
    let byteCount: Int

    init?(argument: String) {
        let units = ["KB": 1000, "MB": 1_000_000, "GB": 1_000_000_000, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30]
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let unit = argument.dropFirst(digits.count).drop { $0 == " " }
        guard let number = Int(digits), number > 0, let factor = unit.isEmpty ? 1 : units[String(unit)] else {
            return nil
        }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        byteCount = product
    }
}
