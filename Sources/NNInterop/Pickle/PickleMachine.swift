import NNStore

/// Reads a pickle as data: a graph of values, in which calls are noted and never made.
///
/// Names of classes and functions are shown to `checkGlobal` the moment they are read, so that one that is not allowed ends the
/// reading even where nothing uses it. Memory is bounded by a small multiple of the pickle's size: no length is believed
/// before so many bytes are there.
struct PickleMachine {
    private(set) var input: PickleInput
    private let limits: ReadLimits
    private let checkGlobal: (PickleGlobal) throws -> Void
    private var graph = PickleGraph()
    private var stack: [PickleValue] = []
    /// The stack's heights at the marks.
    private var marks: [Int] = []
    /// Values are stored under numbers that count up, but for pickles that were made by hand.
    private var memo: [PickleValue] = []
    private var sparseMemo: [Int: PickleValue] = [:]
    /// Where the present operation is.
    private var place = 0

    /// No name of a class or function is longer.
    private static let maximumNameSize = 4096

    init(_ input: PickleInput, limits: ReadLimits, checkGlobal: @escaping (PickleGlobal) throws -> Void) {
        self.input = input
        self.limits = limits
        self.checkGlobal = checkGlobal
    }

    /// Reads one pickle; what is behind it is left.
    static func read(
        _ input: inout PickleInput, limits: ReadLimits, checkGlobal: @escaping (PickleGlobal) throws -> Void
    ) throws -> PickleGraph {
        var machine = PickleMachine(input, limits: limits, checkGlobal: checkGlobal)
        let graph = try machine.run()
        input = machine.input
        return graph
    }

    private mutating func run() throws -> PickleGraph {
        while true {
            place = input.offset
            let byte = try input.byte()
            guard let operation = PickleOperation(rawValue: byte) else {
                throw error(.operation(offset: place, name: "0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)))
            }
            if operation == .stop {
                graph.root = try pop(operation)
                guard stack.isEmpty, marks.isEmpty else {
                    throw error(.operand(offset: place, operation: "STOP", expected: "a single value"))
                }
                return graph
            }
            try perform(operation)
        }
    }

    private func error(_ problem: PickleProblem) -> InteropError { input.error(problem) }

    // MARK: Operations

    private mutating func perform(_ operation: PickleOperation) throws {
        switch operation {
        case .proto:
            let version = try input.byte()
            guard version <= 5 else { throw error(.protocolVersion(offset: place, version: Int(version))) }
        case .frame:
            _ = try length(operation, size: 8)
        case .mark: marks.append(stack.count)
        case .pop:
            // What a mark was put on goes with it.
            if let mark = marks.last, mark == stack.count { marks.removeLast() } else { _ = try pop(operation) }
        case .popMark: _ = try popMark(operation)
        case .dup: stack.append(try top(operation))

        case .none: stack.append(.none)
        case .newTrue: stack.append(.boolean(true))
        case .newFalse: stack.append(.boolean(false))
        case .binInt: push(Int(Int32(bitPattern: UInt32(try input.integer(4)))))
        case .binInt1: push(Int(try input.byte()))
        case .binInt2: push(Int(try input.integer(2)))
        case .long1: pushLong(try input.bytes(Int(try input.byte())))
        case .long4: pushLong(try input.bytes(try length(operation, size: 4)))
        case .int, .long: try pushDigits(operation)
        case .binFloat:
            let bits = try input.bytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            stack.append(.double(Double(bitPattern: bits)))
        case .float:
            guard let value = PickleNumbers.double(try input.line(operation.name, limit: 400)) else {
                throw error(.number(offset: place, operation: operation.name))
            }
            stack.append(.double(value))

        case .shortBinUnicode: try pushText(operation, size: 1)
        case .binUnicode: try pushText(operation, size: 4)
        case .binUnicode8: try pushText(operation, size: 8)
        case .shortBinString: stack.append(.byteString(try bytes(operation, size: 1)))
        case .binString: stack.append(.byteString(try bytes(operation, size: 4)))
        case .shortBinBytes: stack.append(.bytes(try bytes(operation, size: 1)))
        case .binBytes: stack.append(.bytes(try bytes(operation, size: 4)))
        case .binBytes8, .byteArray8: stack.append(.bytes(try bytes(operation, size: 8)))
        case .string:
            let line = try input.line(operation.name, limit: limits.maximumValueSize)
            guard let bytes = PickleNumbers.quotedString(line) else {
                throw error(.text(offset: place, operation: operation.name))
            }
            stack.append(.byteString(bytes))
        case .unicode:
            let line = try input.line(operation.name, limit: limits.maximumValueSize)
            guard let text = PickleNumbers.rawUnicode(line) else {
                throw error(.text(offset: place, operation: operation.name))
            }
            stack.append(.text(text))

        case .emptyList: try push(.list)
        case .emptyDict: try push(.dictionary)
        case .emptyTuple: try push(.tuple)
        case .emptySet: try push(.set)
        case .list: try push(.list, elements: try popMark(operation))
        case .tuple: try push(.tuple, elements: try popMark(operation))
        case .dict:
            let values = try popMark(operation)
            try push(.dictionary, pairs: try pairs(values, operation))
        case .frozenSet: try push(.frozenSet, elements: try popMark(operation))
        case .tuple1: try push(.tuple, elements: try pop(1, operation))
        case .tuple2: try push(.tuple, elements: try pop(2, operation))
        case .tuple3: try push(.tuple, elements: try pop(3, operation))
        case .append:
            let value = try pop(operation)
            try append([value], operation)
        case .appends, .addItems:
            let values = try popMark(operation)
            try append(values, operation)
        case .setItem:
            let values = try pop(2, operation)
            try set(try pairs(values, operation), operation)
        case .setItems:
            let values = try popMark(operation)
            try set(try pairs(values, operation), operation)

        case .put: store(at: try index(operation), try top(operation))
        case .binPut: store(at: Int(try input.byte()), try top(operation))
        case .longBinPut: store(at: Int(try input.integer(4)), try top(operation))
        case .memoize: store(at: memo.count + sparseMemo.count, try top(operation))
        case .get: stack.append(try stored(at: try index(operation)))
        case .binGet: stack.append(try stored(at: Int(try input.byte())))
        case .longBinGet: stack.append(try stored(at: Int(try input.integer(4))))

        case .global:
            let module = try name(try input.line(operation.name, limit: PickleMachine.maximumNameSize), operation)
            let name = try name(try input.line(operation.name, limit: PickleMachine.maximumNameSize), operation)
            try push(module: module, name: name)
        case .stackGlobal:
            let parts = try pop(2, operation)
            guard case .text(let module) = parts[0], case .text(let name) = parts[1] else {
                throw error(.operand(offset: place, operation: operation.name, expected: "two texts"))
            }
            try push(module: module, name: name)
        case .persID: try push(.persistent(.byteString(try input.line(operation.name, limit: limits.maximumValueSize))))
        case .binPersID: try push(.persistent(try pop(operation)))
        case .reduce, .newObj:
            let parts = try pop(2, operation)
            take(parts[1])
            try push(.object(callee: parts[0], keywords: nil), arguments: try tuple(parts[1], operation))
        case .newObjEx:
            let parts = try pop(3, operation)
            take(parts[1])
            take(parts[2])
            try push(.object(callee: parts[0], keywords: parts[2]), arguments: try tuple(parts[1], operation))
        case .build: try build(operation)

        case .ext1, .ext2, .ext4, .inst, .obj, .nextBuffer, .readOnlyBuffer, .stop:
            throw error(.operation(offset: place, name: operation.name))
        }
    }

    private mutating func build(_ operation: PickleOperation) throws {
        let state = try pop(operation)
        let number = try node(operation, expected: "an object to give a state to")
        guard case .object = graph.nodes[number].kind else {
            throw error(.operand(offset: place, operation: operation.name, expected: "an object to give a state to"))
        }
        graph.nodes[number].states.append(state)
    }

    private mutating func append(_ values: [PickleValue], _ operation: PickleOperation) throws {
        let expected = "a list or set to add to"
        let number = try node(operation, expected: expected)
        try checkNotTaken(number, operation)
        switch (graph.nodes[number].kind, operation) {
        case (.list, .append), (.list, .appends), (.set, .addItems), (.object, _):
            graph.nodes[number].elements += values
        default: throw error(.operand(offset: place, operation: operation.name, expected: expected))
        }
    }

    private mutating func set(_ pairs: [PickleGraph.Pair], _ operation: PickleOperation) throws {
        let expected = "a dictionary to add to"
        let number = try node(operation, expected: expected)
        try checkNotTaken(number, operation)
        switch graph.nodes[number].kind {
        case .dictionary, .object: graph.nodes[number].pairs += pairs
        default: throw error(.operand(offset: place, operation: operation.name, expected: expected))
        }
    }

    /// Notes that a call takes lists, sets and dictionaries as they are now: it is made later here, and would see what is added to
    /// them after it.
    private mutating func take(_ value: PickleValue) {
        var rest = [value]
        while let next = rest.popLast() {
            guard case .node(let number) = next, !graph.nodes[number].isTaken else { continue }
            switch graph.nodes[number].kind {
            case .list, .tuple, .set, .frozenSet, .dictionary: graph.nodes[number].isTaken = true
            case .persistent, .object: continue
            }
            rest += graph.nodes[number].elements
            for pair in graph.nodes[number].pairs { rest += [pair.key, pair.value] }
        }
    }

    private func checkNotTaken(_ number: Int, _ operation: PickleOperation) throws {
        guard !graph.nodes[number].isTaken else {
            throw error(
                .operand(
                    offset: place, operation: operation.name,
                    expected: "something that no call was given before; other readers would see other contents"))
        }
    }

    /// The number of the node on top of the stack.
    private func node(_ operation: PickleOperation, expected: String) throws -> Int {
        guard case .node(let number) = try top(operation) else {
            throw error(.operand(offset: place, operation: operation.name, expected: expected))
        }
        return number
    }

    // MARK: Operands

    /// A length in `size` bytes, of which so many are there.
    private mutating func length(_ operation: PickleOperation, size: Int) throws -> Int {
        let length = try input.integer(size)
        // Four bytes have a sign in two of the operations; none that is really there is so long.
        guard length <= min(UInt64(input.remaining), UInt64(limits.maximumValueSize)) else {
            throw error(
                .length(
                    offset: place, operation: operation.name, length: String(length),
                    available: min(input.remaining, limits.maximumValueSize)))
        }
        return Int(length)
    }

    private mutating func bytes(_ operation: PickleOperation, size: Int) throws -> [UInt8] {
        Array(try input.bytes(try length(operation, size: size)))
    }

    private mutating func pushText(_ operation: PickleOperation, size: Int) throws {
        let bytes = try input.bytes(try length(operation, size: size))
        if let text = String(validating: bytes, as: UTF8.self) {
            stack.append(.text(text))
        } else if PickleMachine.hasOnlySurrogatesWrong(bytes) {
            stack.append(.brokenText(Array(bytes)))
        } else {
            throw error(.text(offset: place, operation: operation.name))
        }
    }

    /// Whether bytes are UTF-8 but for surrogates (ED A0..BF xx).
    private static func hasOnlySurrogatesWrong(_ bytes: ArraySlice<UInt8>) -> Bool {
        var kept: [UInt8] = []
        var position = bytes.startIndex
        while position < bytes.endIndex {
            if bytes[position] == 0xed, bytes.endIndex - position >= 3, bytes[position + 1] & 0xe0 == 0xa0,
                bytes[position + 2] & 0xc0 == 0x80
            {
                position += 3
            } else {
                kept.append(bytes[position])
                position += 1
            }
        }
        return kept.count < bytes.count && String(validating: kept, as: UTF8.self) != nil
    }

    private mutating func pushLong(_ bytes: ArraySlice<UInt8>) {
        stack.append(.integer(StateInteger(twosComplement: Array(bytes))))
    }

    private mutating func push(_ integer: Int) { stack.append(.integer(StateInteger(integer))) }

    private mutating func pushDigits(_ operation: PickleOperation) throws {
        let line = try input.line(operation.name, limit: PickleNumbers.maximumDigits + 8)
        switch line {
        case Array("00".utf8) where operation == .int: stack.append(.boolean(false))
        case Array("01".utf8) where operation == .int: stack.append(.boolean(true))
        default:
            guard let integer = PickleNumbers.integer(line) else {
                throw error(.number(offset: place, operation: operation.name))
            }
            stack.append(.integer(integer))
        }
    }

    private mutating func index(_ operation: PickleOperation) throws -> Int {
        guard let index = PickleNumbers.integer(try input.line(operation.name, limit: 20))?.int, index >= 0 else {
            throw error(.number(offset: place, operation: operation.name))
        }
        return index
    }

    private func name(_ bytes: [UInt8], _ operation: PickleOperation) throws -> String {
        guard let name = String(validating: bytes, as: UTF8.self) else {
            throw error(.text(offset: place, operation: operation.name))
        }
        return name
    }

    private func tuple(_ value: PickleValue, _ operation: PickleOperation) throws -> [PickleValue] {
        guard case .node(let number) = value, case .tuple = graph.nodes[number].kind else {
            throw error(.operand(offset: place, operation: operation.name, expected: "a tuple of arguments"))
        }
        return graph.nodes[number].elements
    }

    private func pairs(_ values: [PickleValue], _ operation: PickleOperation) throws -> [PickleGraph.Pair] {
        guard values.count.isMultiple(of: 2) else {
            throw error(.operand(offset: place, operation: operation.name, expected: "a value for each key"))
        }
        return stride(from: 0, to: values.count, by: 2).map { PickleGraph.Pair(key: values[$0], value: values[$0 + 1]) }
    }

    // MARK: Stack, memo and graph

    private var base: Int { marks.last ?? 0 }

    private func top(_ operation: PickleOperation) throws -> PickleValue {
        guard stack.count > base, let value = stack.last else {
            throw error(.stack(offset: place, operation: operation.name))
        }
        return value
    }

    private mutating func pop(_ operation: PickleOperation) throws -> PickleValue {
        let value = try top(operation)
        stack.removeLast()
        return value
    }

    private mutating func pop(_ count: Int, _ operation: PickleOperation) throws -> [PickleValue] {
        guard stack.count - base >= count else { throw error(.stack(offset: place, operation: operation.name)) }
        return take(from: stack.count - count)
    }

    /// What was put on the stack since the last mark, which goes.
    private mutating func popMark(_ operation: PickleOperation) throws -> [PickleValue] {
        guard let mark = marks.popLast() else { throw error(.stack(offset: place, operation: operation.name)) }
        return take(from: mark)
    }

    /// Takes the top of the stack. Nothing may hold the stack while it shrinks, or each time all of it would be copied.
    private mutating func take(from start: Int) -> [PickleValue] {
        var values: [PickleValue] = []
        values.reserveCapacity(stack.count - start)
        for index in start..<stack.count { values.append(stack[index]) }
        stack.removeLast(stack.count - start)
        return values
    }

    private mutating func store(at index: Int, _ value: PickleValue) {
        if index < memo.count {
            memo[index] = value
        } else if index == memo.count, sparseMemo[index] == nil {
            memo.append(value)
        } else {
            sparseMemo[index] = value
        }
    }

    private func stored(at index: Int) throws -> PickleValue {
        guard let value = index < memo.count ? memo[index] : sparseMemo[index] else {
            throw error(.memo(offset: place, index: index))
        }
        return value
    }

    private mutating func push(
        _ kind: PickleGraph.Kind, elements: [PickleValue] = [], pairs: [PickleGraph.Pair] = [],
        arguments: [PickleValue] = []
    ) throws {
        guard graph.nodes.count < limits.maximumNodes else {
            throw InteropError.limitExceeded(
                file: input.name, what: "the number of values", limit: limits.maximumNodes, found: "more")
        }
        stack.append(.node(graph.nodes.count))
        graph.nodes.append(
            PickleGraph.Node(kind: kind, offset: place, elements: elements, pairs: pairs, arguments: arguments))
    }

    private mutating func push(module: String, name: String) throws {
        let module = PickleMachine.present(module)
        // Python 2 had two types of integers; its names are what protocol 2 has.
        let name = module == "builtins" && name == "long" ? "int" : name
        let global = PickleGlobal(module: module, name: name, offset: place)
        try checkGlobal(global)
        stack.append(.global(graph.globals.count))
        graph.globals.append(global)
    }

    /// Python 3 writes the names of Python 2 into pickles of protocol 2 and older.
    private static func present(_ module: String) -> String {
        switch module {
        case "__builtin__": "builtins"
        case "copy_reg": "copyreg"
        default: module
        }
    }
}
