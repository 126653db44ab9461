import NNStore

/// Has every system call of a piece of work fail in turn, and checks after each what is left.
package struct FaultTrial {
    /// What was tried and what came of it.
    package struct Counts: Sendable {
        /// How many faults were injected.
        package var tried = 0
        /// After how many the work threw an error.
        package var failed = 0
        /// After how many it went on to a right result: a call interrupted, cut short, or not needed.
        package var survived = 0
    }

    /// What is wrong after a fault.
    package struct Finding: Error, CustomStringConvertible {
        package let description: String
        package init(description: String) { self.description = description }
    }

    /// Where the files are.
    let folder: String
    /// Puts the folder into the state before the work.
    let prepare: () throws -> Void
    /// The work.
    let work: () throws -> Void
    /// The types of errors that the work may throw.
    let errorTypes: [any Error.Type]
    /// Throws if the folder is not as it should be: `error` is what the work threw.
    let check: (_ error: (any Error)?) throws -> Void

    package init(
        in folder: String, throwing errorTypes: [any Error.Type] = [StoreError.self],
        prepare: @escaping () throws -> Void = {}, work: @escaping () throws -> Void,
        check: @escaping (_ error: (any Error)?) throws -> Void
    ) {
        self.folder = folder
        self.errorTypes = errorTypes
        self.prepare = prepare
        self.work = work
        self.check = check
    }

    /// The errors that disks, full disks and quotas give, once and for good; and calls that are interrupted or cut short, which
    /// must not be errors at all.
    package static let errors: [(name: String, errno: Int32)] = [
        ("EIO", 5), ("ENOSPC", 28), ("EDQUOT", 122), ("EINTR", 4),
    ]

    /// Tries every fault at every call.
    package func run() throws -> Counts {
        var counts = Counts()
        let counter = FaultInjector(.nothing)
        try prepare()
        try SystemCall.observing(folder, with: counter, work)
        try check(nil)
        let calls = counter.kinds
        for (number, kind) in calls.enumerated() {
            for (name, errno) in FaultTrial.errors {
                let what = "\(name) in call \(number), \(kind)"
                try attempt(
                    FaultInjector(.call(number), .error(errno)), what, mayFail: name != "EINTR" || kind == .close,
                    &counts)
                if name == "EIO" {
                    try attempt(
                        FaultInjector(.allFrom(number), .error(errno)), what + " and all after it", mayFail: true,
                        &counts)
                }
            }
            if kind == .read || kind == .write {
                try attempt(
                    FaultInjector(.call(number), .atMost(7)), "short \(kind) \(number)", mayFail: false, &counts)
            }
        }
        try attempt(FaultInjector(.everything, .atMost(1000)), "all reads and writes short", mayFail: false, &counts)
        return counts
    }

    private func attempt(_ injector: FaultInjector, _ what: String, mayFail: Bool, _ counts: inout Counts) throws {
        try prepare()
        var error: (any Error)?
        do {
            try SystemCall.observing(folder, with: injector, work)
        } catch let thrown {
            error = thrown
        }
        // Threads may take the calls in another order and need fewer.
        if injector.injectedCount == 0 { return }
        counts.tried += 1
        if error == nil { counts.survived += 1 } else { counts.failed += 1 }
        if let error, !mayFail { throw Finding(description: "\(what): \(error)") }
        do {
            try check(error)
            try checkAlways(error)
        } catch let finding {
            throw Finding(description: "\(what): \(finding)" + (error.map { " (it threw: \($0))" } ?? ""))
        }
        let open = openDescriptors(in: folder)
        if !open.isEmpty { throw Finding(description: "\(what): left open \(open)") }
    }

    /// What holds after every fault: a typed error that names a file of the folder, and nothing left that the next save there
    /// does not remove.
    private func checkAlways(_ error: (any Error)?) throws {
        if let error {
            guard errorTypes.contains(where: { type(of: error) == $0 }) else {
                throw Finding(description: "an error of another type")
            }
            guard "\(error)".contains(folder) else { throw Finding(description: "the error names no file") }
        }
        func leftovers() throws -> [String] { try SystemCall.names(in: folder).filter { $0.hasPrefix(".nnstore-") } }
        if try leftovers().isEmpty { return }
        let next = folder + "/next.nnck"
        try Checkpoint.save(["n": 1], to: next)
        try SystemCall.unlink(next)
        let left = try leftovers()
        guard left.isEmpty else { throw Finding(description: "left behind for ever: \(left)") }
    }
}

extension Error {
    /// Whether it is the one error of a save after which the new file is there, whole.
    package var isReplacedNotDurable: Bool {
        if case .replacedNotDurable? = self as? StoreError { true } else { false }
    }
}
