import NNStore

/// Collects small pieces into large writes, and gives up on the sink unless it was finished.
final class BufferedOutput {
    private let sink: any ByteSink
    private var buffer: [UInt8] = []
    private var isFinished = false

    private static let bufferSize = 1 << 20

    init(_ sink: any ByteSink) {
        self.sink = sink
        buffer.reserveCapacity(BufferedOutput.bufferSize)
    }

    deinit {
        if !isFinished { sink.abandon() }
    }

    /// The sink for a path: a pipe or device that is there is written to, anything else is a file that appears when it
    /// is finished.
    static func sink(
        for path: String, _ existing: ExistingDestination, isDurable: Bool
    ) throws(StoreError) -> any ByteSink {
        switch try SystemCall.status(path)?.kind {
        case .pipe, .device: try StreamSink(path: path)
        default: try FileSink(path: path, existing: existing, isDurable: isDurable)
        }
    }

    /// What messages call the destination.
    var name: String { sink.name }

    func append(_ bytes: RawSpan) throws(StoreError) {
        if buffer.count + bytes.byteCount > BufferedOutput.bufferSize { try flush() }
        if bytes.byteCount >= BufferedOutput.bufferSize {
            try sink.append(bytes)
        } else {
            // Sound: the bytes are copied before the closure returns.
            unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
        }
    }

    func append(_ bytes: [UInt8]) throws(StoreError) {
        try bytes.withRawSpan { (bytes: RawSpan) throws(StoreError) in try append(bytes) }
    }

    private func flush() throws(StoreError) {
        if buffer.isEmpty { return }
        try buffer.withRawSpan { (bytes: RawSpan) throws(StoreError) in try sink.append(bytes) }
        buffer.removeAll(keepingCapacity: true)
    }

    func finish(_ existing: ExistingDestination) throws(StoreError) {
        try flush()
        try sink.finish(existing)
        isFinished = true
    }
}
