import Synchronization

/// One line on a terminal that moves while long work runs: what, how much, how fast, how long still. Nothing in a pipe,
/// and nothing for work of less than half a second.
final class ProgressLine: Sendable {
    private let title: String
    private let start = ContinuousClock.now
    private let isShown: Bool
    private let state = Mutex(State())

    private struct State {
        var lastDrawn: ContinuousClock.Instant?
        var width = 0
    }

    /// A line that begins with `title`.
    init(_ title: String, quiet: Bool = false) {
        self.title = title
        isShown = Terminal.errorIsTerminal && !quiet
    }

    /// Redraws the line, at most ten times a second.
    func update(_ done: Int, _ total: Int?) {
        guard isShown else { return }
        let now = ContinuousClock.now
        let elapsed = (now - start).inSeconds
        state.withLock { state in
            if elapsed < 0.5 { return }
            if let last = state.lastDrawn, (now - last).inSeconds < 0.1 { return }
            state.lastDrawn = now
            var line = "\(title)  \(Quantities.bytes(done))"
            if let total { line += " of \(Quantities.bytes(total)) (\(Quantities.percent(done, of: total)))" }
            line += "  \(Quantities.rate(done, seconds: elapsed))"
            if let total, done > 0 {
                line += "  \(Quantities.seconds(elapsed * Double(max(0, total - done)) / Double(done))) left"
            }
            // A line that wraps could not be drawn over.
            line = String(line.prefix(Terminal.errorWidth - 1))
            Terminal.errorText("\r\(line)\(String(repeating: " ", count: max(0, state.width - line.count)))")
            state.width = line.count
        }
    }

    /// Removes the line.
    func finish() {
        state.withLock { state in
            if state.width > 0 { Terminal.errorText("\r\(String(repeating: " ", count: state.width))\r") }
            state.width = 0
        }
    }

    /// The seconds since the line was made.
    var seconds: Double { (ContinuousClock.now - start).inSeconds }
}

extension Duration {
    fileprivate var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
