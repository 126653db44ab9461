#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Losses as a curve of characters.
struct LossCurve: CustomStringConvertible {
    private let losses: [Double]

    init(_ losses: [Double]) { self.losses = losses }

    /// Eight lines, with the largest and the smallest mean at their left.
    var description: String {
        let (width, height) = (min(64, losses.count), 8)
        let columns = (0..<width).map { column -> Double in
            let part = losses[column * losses.count / width..<(column + 1) * losses.count / width]
            return part.reduce(0, +) / Double(part.count)
        }
        guard let low = columns.min(), let high = columns.max() else { return "" }
        let blocks = Array(" ▁▂▃▄▅▆▇█")
        func label(_ value: Double) -> String {
            let text = "\((value * 1000).rounded() / 1000)"
            return String(repeating: " ", count: max(0, 6 - text.count)) + text
        }
        let lines = (0..<height).reversed().map { row -> String in
            let bars = columns.map { value -> Character in
                let eighths = high > low ? (value - low) / (high - low) * Double(8 * height - 1) + 1 : 1
                return blocks[Int(min(8, max(0, eighths - Double(8 * row))))]
            }
            let edge = row == height - 1 ? label(high) : row == 0 ? label(low) : "      "
            return "\(edge) ┤\(String(bars))"
        }
        return
            (["loss"] + lines + [
                "       0" + String(repeating: " ", count: max(1, width - 4)) + "\(losses.count) steps"
            ])
            .joined(separator: "\n")
    }
}

/// One line on a terminal that says how far the training is; nothing in a pipe.
struct Progress {
    let total: Int
    private let isShown = isatty(STDERR_FILENO) == 1

    init(total: Int) { self.total = total }

    func show(_ step: Int, loss: Double) {
        if isShown { write("\r\u{1b}[Kstep \(step) of \(total), loss \((loss * 1000).rounded() / 1000)") }
    }

    func finish() { if isShown { write("\r\u{1b}[K") } }

    private func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
