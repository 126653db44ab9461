import NNStore

/// Values of a pickle as what a call expects: texts, bytes, integers.
extension TorchInterpreter {
    /// The elements of a list or tuple; none if there is none.
    func sequence(_ value: PickleValue?, _ number: Int, _ type: String) throws -> [PickleValue] {
        guard let value else { return [] }
        if case .node(let index) = value {
            switch graph.nodes[index].kind {
            case .list, .tuple: return graph.nodes[index].elements
            case .object(.global(let callee), _) where graph.globals[callee].qualifiedName == "torch.Size":
                return try sequence(graph.nodes[index].arguments.first, number, type)
            default: break
            }
        }
        throw fail(number, type, "a list or tuple is expected where something else is")
    }

    func global(_ value: PickleValue) -> PickleGlobal? {
        if case .global(let index) = value { graph.globals[index] } else { nil }
    }

    /// The bytes of a text whose characters stand for bytes.
    func encoded(_ arguments: [PickleValue], _ number: Int) throws -> [UInt8] {
        guard arguments.count == 2, let encoding = arguments[1].text,
            ["latin1", "latin-1", "latin_1", "iso-8859-1", "iso8859-1"].contains(encoding.lowercased())
        else { throw fail(number, "_codecs.encode", "Latin-1 is the only encoding that bytes are written by") }
        guard case .text(let text) = arguments[0] else {
            if case .byteString(let bytes) = arguments[0] { return bytes }
            throw fail(number, "_codecs.encode", "it encodes something that is no text")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            guard let byte = UInt8(exactly: scalar.value) else {
                throw fail(number, "_codecs.encode", "a character of the text is none of Latin-1")
            }
            bytes.append(byte)
        }
        return bytes
    }

    /// The bytes that `bytes(...)` or `bytearray(...)` is called with.
    func bytes(_ arguments: [PickleValue], _ number: Int, _ type: String) throws -> [UInt8] {
        if arguments.count == 2 { return try encoded(arguments, number) }
        guard arguments.count <= 1 else { throw fail(number, type, "it has \(arguments.count) arguments") }
        guard let argument = arguments.first else { return [] }
        if let bytes = try bytes(argument) { return bytes }
        return try sequence(argument, number, type).map { value in
            guard case .integer(let integer) = value, let byte = integer.int.flatMap({ UInt8(exactly: $0) }) else {
                throw fail(number, type, "something in it is no byte")
            }
            return byte
        }
    }

    /// The bytes that a value is, if it is bytes.
    func bytes(_ value: PickleValue) throws -> [UInt8]? {
        switch value {
        case .bytes(let bytes), .byteString(let bytes): return bytes
        case .node(let index):
            guard case .object(.global(let callee), _) = graph.nodes[index].kind else { return nil }
            switch graph.globals[callee].qualifiedName {
            case "_codecs.encode": return try encoded(graph.nodes[index].arguments, index)
            case "builtins.bytes", "builtins.bytearray":
                return try bytes(graph.nodes[index].arguments, index, graph.globals[callee].qualifiedName)
            default: return nil
            }
        default: return nil
        }
    }

    func integers(_ value: PickleValue, _ what: String, _ number: Int, _ type: String) throws -> [Int] {
        let values = try sequence(value, number, type)
        guard values.count <= TensorLayout.maximumRank else {
            throw fail(number, type, "\(values.count) dimensions, at most \(TensorLayout.maximumRank) are possible")
        }
        return try values.map { value in
            guard case .integer(let integer) = value, let integer = integer.int, integer >= 0 else {
                throw fail(number, type, "something in its \(what) is no integer from 0 to 2^63 - 1")
            }
            return integer
        }
    }

    func boolean(_ value: PickleValue, _ number: Int, _ type: String) throws -> Bool {
        switch value {
        case .boolean(let value): return value
        // Protocols before 2 have no truth values of their own.
        case .integer(let integer) where integer.int == 0 || integer.int == 1: return integer.int == 1
        default: throw fail(number, type, "something that is to be true or false is neither")
        }
    }

    func dtype(_ value: PickleValue, _ number: Int, _ type: String) throws -> TorchDType {
        guard let name = global(value), name.module == "torch", let dtype = TorchDType(named: name.name) else {
            throw fail(number, type, "its dtype is none that is known")
        }
        return dtype
    }

    /// Hooks are functions: those of a checkpoint are always none.
    func checkHooks(_ value: PickleValue, _ number: Int, _ type: String) throws {
        switch value {
        case .none: return
        case .node(let index):
            let node = graph.nodes[index]
            let isEmpty = node.pairs.isEmpty && node.elements.isEmpty && node.states.isEmpty
            switch node.kind {
            case .dictionary where isEmpty: return
            case .object where isEmpty:
                if node.arguments.isEmpty { return }
                if node.arguments.count == 1, try sequence(node.arguments[0], number, type).isEmpty { return }
            default: break
            }
        default: break
        }
        throw fail(number, type, "it has backward hooks, which are functions; nothing was run")
    }
}
