import NNStore
import Synchronization

/// A test double of the system: has one call fail, or every one from some call on, and counts them all.
package final class FaultInjector: SystemCallObserver {
    /// Which calls something else happens in.
    package enum Target: Sendable {
        /// None: calls are counted.
        case nothing
        /// The call of this number, counted from 0.
        case call(Int)
        /// It and all later ones of its kind.
        case allFrom(Int)
        /// Every one.
        case everything
    }

    private struct State {
        var kinds: [SystemCallKind] = []
        var failingKind: SystemCallKind?
        var injected = 0
    }

    private let target: Target
    private let outcome: InjectedOutcome
    private let state = Mutex(State())

    package init(_ target: Target, _ outcome: InjectedOutcome = .error(0)) {
        self.target = target
        self.outcome = outcome
    }

    /// The calls that were seen, in order.
    package var kinds: [SystemCallKind] { state.withLock { $0.kinds } }
    /// How often something else happened.
    package var injectedCount: Int { state.withLock { $0.injected } }

    package func outcome(of call: ObservedCall) -> InjectedOutcome? {
        state.withLock { state in
            let number = state.kinds.count
            state.kinds.append(call.kind)
            if case .atMost = outcome, call.kind != .read, call.kind != .write { return nil }
            let isHit =
                switch target {
                case .nothing: false
                case .call(let wanted): number == wanted
                case .allFrom(let first):
                    number == first || number > first && call.kind == state.failingKind
                case .everything: true
                }
            guard isHit else { return nil }
            state.failingKind = call.kind
            state.injected += 1
            return outcome
        }
    }
}
