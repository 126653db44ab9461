import CVectorMath
import NNStore
import Synchronization

/// A source of random numbers: Philox 4×32-10 (J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel Random Numbers: As Easy as
/// 1, 2, 3; SC 2011).
///
/// The generator is a seed and an offset: each number depends on these and its position alone, so the same program gets the
/// same numbers on every machine and with any number of threads, and ``state`` is all that has to be saved. A call takes as
/// many steps of the offset as it needs, four 32-bit or two 64-bit numbers each.
public final class Generator: Sendable {
    /// A seed and an offset, all that there is to a generator.
    public struct State: Sendable, Hashable {
        /// Which of the sequences it is.
        public var seed: UInt64
        /// How many steps of it were taken.
        public var offset: UInt64

        /// A state.
        public init(seed: UInt64, offset: UInt64 = 0) {
            self.seed = seed
            self.offset = offset
        }
    }

    private let current: Mutex<State>

    /// A generator at the beginning of the sequence of `seed`.
    public init(seed: UInt64 = 0) { current = Mutex(State(seed: seed)) }

    /// A generator that goes on from a state.
    public init(_ state: State) { current = Mutex(state) }

    /// The state, to be saved and set again.
    public var state: State {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }

    /// Begins the sequence of `seed`.
    public func manualSeed(_ seed: UInt64) { state = State(seed: seed) }

    /// The generator that is used where none is given: that of ``withGenerator(_:_:)``, otherwise one for the whole process
    /// with seed 0 until ``NNTensor/manualSeed(_:)`` is called.
    public static var `default`: Generator { current }

    @TaskLocal static var current = Generator()

    /// Takes `count` steps; gives the state before.
    func reserve(_ count: Int) -> State {
        current.withLock { state in
            defer { state.offset &+= UInt64(count) }
            return state
        }
    }
}

/// Begins the sequence of `seed` in the default generator.
public func manualSeed(_ seed: UInt64) { Generator.default.manualSeed(seed) }

/// Runs `body` with another default generator.
public func withGenerator<Result>(_ generator: Generator, _ body: () throws -> Result) rethrows -> Result {
    try Generator.$current.withValue(generator, operation: body)
}
