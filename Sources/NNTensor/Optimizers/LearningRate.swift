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
    /// Stops the program if `count` is not positive.
    public static func step(every count: Int, by factor: Double = 0.1) -> LearningRateSchedule {
        guard count > 0 else { stop("LearningRateSchedule.step", "every \(count) steps is impossible") }
        return .init { pow(factor, Double($0 / count)) }
    }

    /// From 1 down to `minimum` along half a wave of a cosine, where it stays (I. Loshchilov, F. Hutter: SGDR, 2017).
    ///
    /// Stops the program if `count` is not positive.
    ///
    /// - Parameter minimum: as a part of the first learning rate.
    public static func cosine(over count: Int, minimum: Double = 0) -> LearningRateSchedule {
        guard count > 0 else { stop("LearningRateSchedule.cosine", "over \(count) steps is impossible") }
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
    /// What the schedule multiplies.
    private var first: [Double]

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

    /// What has to be saved: the number of steps, the rates, and what the schedule multiplies.
    public func stateDict() -> StateTree {
        .dictionary([
            ("base_lrs", .list(first.map { .double($0) })), ("last_epoch", .integer(stepCount)),
            ("_last_lr", .list(learningRates.map { .double($0) })),
        ])
    }

    /// Goes to the step of a state dict, with its first rates: those that a resumed optimizer has now are later ones.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` if it has no step, or rates of another number of groups.
    public func load(stateDict: StateTree) throws { try loading(stateDict)() }

    /// Checks a state dict; gives what takes it over.
    func loading(_ stateDict: StateTree) throws -> () -> Void {
        guard let count = stateDict["last_epoch"]?.int, TrainingContents.counts.contains(count) else {
            throw TensorError.invalidArgument(
                operation: "LearningRateScheduler.load(stateDict:)",
                reason: "there is no number of steps, \"last_epoch\"")
        }
        guard case .list(let list, _)? = stateDict["base_lrs"], list.count == first.count,
            case let rates = list.compactMap(\.number).filter({ $0 >= 0 && $0.isFinite }), rates.count == list.count
        else {
            throw TensorError.invalidArgument(
                operation: "LearningRateScheduler.load(stateDict:)",
                reason: "\"base_lrs\" should be the first learning rates of \(first.count) groups")
        }
        return {
            (self.first, self.stepCount) = (rates, count)
            self.apply()
        }
    }

    private func apply() {
        let factor = schedule.factor(stepCount)
        for index in first.indices { optimizer.groups[index].learningRate = first[index] * factor }
    }
}
