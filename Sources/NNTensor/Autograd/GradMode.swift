/// Whether operations are recorded; on by default.
enum GradMode {
    @TaskLocal static var isRecording = true
}

/// Runs `body` without recording operations: what it calculates has no gradient, and leaves that require gradients can be
/// changed in place.
///
/// ```swift
/// noGrad { net.weight -= 0.1 * net.weight.grad! }
/// ```
public func noGrad<Result>(_ body: () throws -> Result) rethrows -> Result {
    try GradMode.$isRecording.withValue(false, operation: body)
}

/// Runs `body` with recording on, inside of ``noGrad(_:)``.
public func enableGrad<Result>(_ body: () throws -> Result) rethrows -> Result {
    try GradMode.$isRecording.withValue(true, operation: body)
}

/// Whether operations are recorded here.
public var isGradEnabled: Bool { GradMode.isRecording }
