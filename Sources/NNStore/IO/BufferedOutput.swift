/// Collects small pieces into large writes to a sink, and gives up on the sink unless it was finished.
package final class BufferedOutput {
    private let sink: any ByteSink
    private var buffer: [UInt8] = []
    private var isFinished = false
    /// How many bytes were appended.
    package private(set) var position = 0

    private static let bufferSize = 1 << 20

    package init(_ sink: any ByteSink) {
        self.sink = sink
        buffer.reserveCapacity(BufferedOutput.bufferSize)
    }

    deinit { abandon() }

    /// What messages call the destination.
    package var name: String { sink.name }

    /// Appends bytes.
    package func append(_ bytes: RawSpan) throws(StoreError) {
        position += bytes.byteCount
        if buffer.count + bytes.byteCount > BufferedOutput.bufferSize { try flush() }
        if bytes.byteCount >= BufferedOutput.bufferSize {
            try sink.append(bytes)
        } else {
            // Sound: the bytes are copied before the closure returns.
            unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
        }
    }

    /// Appends bytes.
    package func append(_ bytes: [UInt8]) throws(StoreError) {
        try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in try append(bytes) }
    }

    /// Appends zeros up to `target`, if it is not reached yet.
    package func pad(to target: Int) throws(StoreError) {
        if target > position { try append([UInt8](repeating: 0, count: target - position)) }
    }

    private func flush() throws(StoreError) {
        if buffer.isEmpty { return }
        try buffer.withRawSpan { (bytes: RawSpan) throws(StoreError) in try sink.append(bytes) }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Writes what is left and finishes the sink. After an error the sink was given up.
    ///
    /// - Parameter check: called when all bytes were written and before they are put in place.
    package func finish(_ existing: ExistingDestination, check: (any ByteSink) throws -> Void = { _ in }) throws {
        // Does nothing to a sink that was finished.
        defer { abandon() }
        try flush()
        try check(sink)
        try sink.finish(existing)
        isFinished = true
    }

    /// Gives up on the sink, unless it was finished.
    package func abandon() {
        if !isFinished { sink.abandon() }
        isFinished = true
    }
}
