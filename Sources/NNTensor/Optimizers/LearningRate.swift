#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif
import NNStore

/// How a learning rate changes from step to step: what the first one is multiplied by.
///
/// ```swift
/// let scheduler = LearningRateScheduler(optimizer, .cosine(over: 1000).after(warmUp: 100))
/// ```
public struct LearningRateSchedule: Sendable {
    /// The factor at a step, counted from 0.
    let factor: @Sendable (_ step: Int) -> Double

    /// A schedule of your own: the factor at a step, counted from 0.
    public init(_ factor: @escaping @Sendable (_ step: Int) -> Double) { self.factor = factor }

    /// Always the same.
    public static let constant = LearningRateSchedule { _ in 1 }

    /// Multiplied by `factor` every so many steps (`StepLR`).
    ///
    /// - Precondition: `count` is positive.
    public static func step(every count: Int, by factor: Double = 0.1) -> LearningRateSchedule {
        precondition(count > 0)
        return .init { pow(factor, Double($0 / count)) }
    }

    /// From 1 down to `minimum` along half a wave of a cosine, where it stays (I. Loshchilov, F. Hutter: SGDR, 2017).
    ///
    /// - Parameter minimum: as a part of the first learning rate.
    /// - Precondition: `count` is positive.
    public static func cosine(over count: Int, minimum: Double = 0) -> LearningRateSchedule {
        precondition(count > 0)
        return .init { step in
            minimum + (1 - minimum) * (1 + cos(.pi * Double(min(step, count)) / Double(count))) / 2
        }
    }

    /// This schedule after `count` steps in which the rate grows evenly from `start` of it to all of it (`LinearLR`).
    public func after(warmUp count: Int, from start: Double = 0) -> LearningRateSchedule {
        .init { [factor] step in
            step < count ? (start + (1 - start) * Double(step) / Double(count)) * factor(0) : factor(step - count)
        }
    }
}

/// Sets an optimizer's learning rates by a schedule.
public final class LearningRateScheduler {
    private let optimizer: Optimizer
    private let schedule: LearningRateSchedule
    private let first: [Double]

    /// The number of steps so far.
    public private(set) var stepCount = 0

    /// Sets the rates of step 0. Those that the optimizer has now are what the schedule multiplies.
    public init(_ optimizer: Optimizer, _ schedule: LearningRateSchedule) {
        (self.optimizer, self.schedule) = (optimizer, schedule)
        first = optimizer.groups.map(\.learningRate)
        apply()
    }

    /// Goes on to the rates of the next step; called after the optimizer's.
    public func step() {
        stepCount += 1
        apply()
    }

    /// The rates of the optimizer's groups.
    public var learningRates: [Double] { optimizer.groups.map(\.learningRate) }

    /// What has to be saved: the number of steps, and the rates.
    public func stateDict() -> StateTree {
        .dictionary([
            ("last_epoch", .integer(stepCount)), ("_last_lr", .list(learningRates.map { .double($0) })),
        ])
    }

    /// Goes to the step of a state dict.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if there is none.
    public func load(stateDict: StateTree) throws {
        guard let count = stateDict["last_epoch"]?.int, count >= 0 else {
            throw TensorError.invalidArgument(
                operation: "LearningRateScheduler.load(stateDict:)",
                reason: "there is no number of steps, \"last_epoch\"")
        }
        stepCount = count
        apply()
    }

    private func apply() {
        let factor = schedule.factor(stepCount)
        for index in first.indices { optimizer.groups[index].learningRate = first[index] * factor }
    }
}
