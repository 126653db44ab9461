/// Collects small pieces into large writes to a sink, and gives up on the sink unless it was finished.
package final class BufferedOutput {
    private let sink: any ByteSink
    private var memory: Memory?
    private var filled = 0
    private var state = State.open

    private enum State {
        case open
        case finished
        /// After an error nothing more is written: what is there has a hole.
        case failed(StoreError)
    }
    /// How many bytes were appended.
    package private(set) var position = 0

    /// Large pieces, all of one size and aligned in memory and file, so that a sink can write them past the page cache.
    private static let bufferSize = 4 << 20
    private static let largePiece = 64 << 10

    package init(_ sink: any ByteSink) {
        self.sink = sink
    }

    deinit { abandon() }

    /// What messages call the destination.
    package var name: String { sink.name }

    /// - Throws: the error that an earlier call failed with; an error if the output was finished.
    package func checkOpen() throws(StoreError) {
        switch state {
        case .open: break
        case .finished:
            throw .invalidArgument(reason: "\(name): is finished or given up; nothing more can be written to it")
        case .failed(let error): throw error
        }
    }

    /// Appends bytes. After an error every later call throws that error, and the sink was given up.
    package func append(_ bytes: RawSpan) throws(StoreError) {
        try checkOpen()
        do throws(StoreError) {
            try write(bytes)
        } catch {
            fail(error)
            throw error
        }
    }

    private func fail(_ error: StoreError) {
        sink.abandon()
        state = .failed(error)
    }

    private func write(_ bytes: RawSpan) throws(StoreError) {
        // Memory takes pieces of any size, so a large one needs no copy.
        if sink is MemorySink, bytes.byteCount >= BufferedOutput.largePiece {
            try flush()
            try sink.append(bytes)
            position += bytes.byteCount
            return
        }
        var taken = 0
        while taken < bytes.byteCount {
            let buffer = try buffer()
            let count = min(buffer.byteCount - filled, bytes.byteCount - taken)
            buffer.withMutableBytes(in: filled..<filled + count) { $0.copy(bytes.extracting(taken..<taken + count)) }
            filled += count
            taken += count
            position += count
            if filled == buffer.byteCount { try flush() }
        }
    }

    /// Allocated when the first byte comes: an output may be given up before.
    private func buffer() throws(StoreError) -> Memory {
        if let memory { return memory }
        let memory = try Memory.allocate(BufferedOutput.bufferSize)
        self.memory = memory
        return memory
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
        guard let memory, filled > 0 else { return }
        let range = 0..<filled
        filled = 0
        try memory.withBytes(in: range) { (bytes: RawSpan) throws(StoreError) in try sink.append(bytes) }
    }

    /// Writes what is left and finishes the sink. After an error the sink was given up.
    ///
    /// - Parameter check: called when all bytes were written and before they are put in place.
    package func finish(_ existing: ExistingDestination, check: (any ByteSink) throws -> Void = { _ in }) throws {
        try checkOpen()
        // Does nothing to a sink that was finished.
        defer { abandon() }
        try flush()
        try check(sink)
        try sink.finish(existing)
        state = .finished
    }

    /// Gives up on the sink, unless it was finished.
    package func abandon() {
        guard case .open = state else { return }
        sink.abandon()
        state = .finished
    }
}
