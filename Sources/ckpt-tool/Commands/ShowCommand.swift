import ArgumentParser
import NNInterop
import NNStore

struct ShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows one entry: of a tensor its layout, statistics, a histogram and the first values.",
        discussion: """
            Examples:
              ckpt-tool show model.nnck embedding.weight
              ckpt-tool show training.nnck optimizer.step --json
            """)

    @Argument(help: "The checkpoint.", completion: .file())
    var file: String

    @Argument(help: "The entry's flat name, as list prints it; empty for the root.")
    var name: String

    @OptionGroup var reading: SourceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    @Option(help: "The most bytes to go through; expanded tensors can stand for any number of them.")
    var maxBytes: ByteSizeArgument?

    func run() throws {
        let opened = try reading.open(file)
        let state = try opened.state()
        let (path, node) = try find(in: state)
        guard let tensor = node.tensor else {
            if json {
                JSONOutput.print([
                    "file": .string(file), "name": .string(path.flatName), "value": try JSONValue(node),
                ])
            } else {
                TreeText.lines(of: node, label: name.isEmpty ? "(root)" : name).forEach(Terminal.print)
                if case .string(let text) = node, text.count > 80 { Terminal.print(printable(text)) }
            }
            return
        }
        let limit = maxBytes?.byteCount ?? LogicalSizeLimit.bytes(fileSize: opened.byteCount)
        guard tensor.layout.byteCount <= limit else {
            throw StoreError.limitExceeded(
                file: file, what: "the bytes that show goes through (--max-bytes)", limit: limit,
                found: "\(tensor.layout.byteCount)")
        }
        let statistics = try TensorStatistics(tensor)
        if json {
            printJSON(tensor, path, statistics, state)
        } else {
            try printText(tensor, path, statistics, state)
        }
    }

    /// The one entry with this flat name: a tensor, or else a leaf or inner node.
    private func find(in state: StateTree) throws -> (StatePath, StateTree) {
        var found: [(path: StatePath, node: StateTree)] = []
        var names: [String] = []
        state.forEachNode { path, node in
            let flatName = path.flatName
            if flatName.utf8.elementsEqual(name.utf8) { found.append((path, node)) }
            if node.tensor != nil { names.append(flatName) }
        }
        let tensors = found.filter { $0.node.tensor != nil }
        if !tensors.isEmpty { found = tensors }
        guard let first = found.first else {
            throw StoreError.notFound(file: file, name: name, similar: NameSimilarity.closest(to: name, among: names))
        }
        guard found.count == 1 else {
            throw StoreError.ambiguousName(file: file, name: name, paths: found.map(\.path.description))
        }
        return first
    }

    private func aliases(_ tensor: StateTensor, _ path: StatePath, _ state: StateTree) -> [(
        name: String, layout: TensorLayout
    )] {
        if tensor.layout.isEmpty { return [] }
        return state.tensors.compactMap { other in
            other.tensor.storage === tensor.storage && other.path != path && !other.tensor.layout.isEmpty
                ? (other.path.flatName, other.tensor.layout) : nil
        }
    }

    private func printJSON(
        _ tensor: StateTensor, _ path: StatePath, _ statistics: TensorStatistics?, _ state: StateTree
    ) {
        let layout = tensor.layout
        JSONOutput.print([
            "file": .string(file), "name": .string(path.flatName), "dtype": .string(layout.dtype.name),
            "shape": .array(layout.shape.map { .integer($0) }), "strides": .array(layout.strides.map { .integer($0) }),
            "offset": .integer(layout.offset), "nbytes": .integer(layout.byteCount),
            "aliases": .array(aliases(tensor, path, state).map { .string($0.name) }),
            "min": exactOr(statistics?.exactMinimum, statistics?.minimum),
            "max": exactOr(statistics?.exactMaximum, statistics?.maximum),
            "of": .string(layout.dtype == .c64 || layout.dtype == .c128 ? "magnitude" : "value"),
            "mean": JSONOutput.number(statistics?.mean), "std": JSONOutput.number(statistics?.standardDeviation),
            "zeros": JSONOutput.integer(statistics?.zeroCount), "nan": JSONOutput.integer(statistics?.nanCount),
            "infinite": JSONOutput.integer(statistics?.infiniteCount),
            "histogram": .array((statistics?.histogram ?? []).map { .integer($0) }),
        ])
    }

    private func exactOr(_ exact: Int128?, _ value: Double?) -> JSONValue {
        exact.map { .number(JSONNumber($0)) } ?? JSONOutput.number(value)
    }

    private func printText(
        _ tensor: StateTensor, _ path: StatePath, _ statistics: TensorStatistics?, _ state: StateTree
    ) throws {
        let layout = tensor.layout
        var facts = [
            layout.isContiguous ? "row-major" : "strides \(layout.strides)", Quantities.bytes(layout.byteCount),
        ]
        if layout.offset > 0 { facts.append("offset \(layout.offset)") }
        if tensor.requiresGrad { facts.append("requires grad") }
        if let tag = tensor.tag { facts.append(printable(tag)) }
        for alias in aliases(tensor, path, state).prefix(5) {
            facts.append(
                alias.layout == layout
                    ? "tied with \(printable(alias.name))" : "shares memory with \(printable(alias.name))")
        }
        Terminal.print("\(printable(name))  \(layout.dtype) \(layout.shape), \(facts.joined(separator: ", "))")
        if let statistics {
            if let minimum = statistics.minimum, let maximum = statistics.maximum {
                let mean = statistics.mean.map(Quantities.value) ?? "–"
                let deviation = statistics.standardDeviation.map(Quantities.value) ?? "–"
                Terminal.print(
                    "min \(statistics.exactMinimum.map { "\($0)" } ?? Quantities.value(minimum))  "
                        + "max \(statistics.exactMaximum.map { "\($0)" } ?? Quantities.value(maximum))  mean \(mean)  "
                        + "std \(deviation)  zeros \(Quantities.grouped(statistics.zeroCount))  NaN \(statistics.nanCount)  "
                        + "infinite \(statistics.infiniteCount)"
                        + (layout.dtype == .c64 || layout.dtype == .c128 ? "  (of the magnitudes)" : ""))
                if !statistics.histogram.isEmpty {
                    Terminal.print(
                        " \(Quantities.value(minimum)) \(bars(statistics.histogram)) \(Quantities.value(maximum))")
                }
            } else if statistics.count > 0 {
                Terminal.print("no finite value: NaN \(statistics.nanCount)  infinite \(statistics.infiniteCount)")
            }
        } else {
            Terminal.print(
                "blocks of \(layout.dtype.elementsPerBlock) elements in \(layout.dtype.bytesPerBlock) bytes; their values are not known to this program"
            )
        }
        if let values = try FirstValues(tensor) { Terminal.print("first values  \(values.text)") }
    }

    private func bars(_ histogram: [Int]) -> String {
        let blocks = Array("▁▂▃▄▅▆▇█")
        let greatest = max(1, histogram.max() ?? 1)
        return String(
            histogram.map { count in
                count == 0 ? " " : blocks[count * 7 / greatest]
            })
    }
}

/// The first values of a tensor, in nested brackets as PyTorch and NumPy print them.
private struct FirstValues {
    private(set) var text: String
    private let values: ElementValues
    private let tensor: StateTensor

    /// `nil` for dtypes without numbers, packed ones and tensors without elements.
    init?(_ tensor: StateTensor) throws {
        guard let values = ElementValues(tensor.dtype), tensor.dtype.elementsPerBlock == 1, !tensor.layout.isEmpty
        else {
            return nil
        }
        self.values = values
        self.tensor = tensor
        text = ""
        text = try nested(dimension: 0, offset: tensor.layout.offset)
    }

    private func nested(dimension: Int, offset: Int) throws -> String {
        guard dimension < tensor.layout.rank else { return try value(at: offset) }
        let shown = min(tensor.shape[dimension], dimension == tensor.layout.rank - 1 ? 6 : dimension == 0 ? 2 : 1)
        var parts: [String] = []
        for index in 0..<shown {
            parts.append(
                try nested(dimension: dimension + 1, offset: offset + index * tensor.layout.strides[dimension]))
        }
        if shown < tensor.shape[dimension] { parts.append("...") }
        return "[\(parts.joined(separator: ", "))]"
    }

    private func value(at offset: Int) throws -> String {
        let size = tensor.dtype.bytesPerBlock
        var bytes = [UInt8](repeating: 0, count: size)
        try bytes.withMutableRawSpan { try tensor.storage.read(offset * size..<(offset + 1) * size, into: &$0) }
        if let integer = values.integer(bytes) {
            return tensor.dtype == .bool && integer < 2 ? (integer == 1 ? "true" : "false") : "\(integer)"
        }
        if let parts = values.complex(bytes) {
            return
                "\(Quantities.value(parts.real))\(parts.imaginary.sign == .minus ? "-" : "+")\(Quantities.value(parts.imaginary.magnitude))i"
        }
        var text = ""
        values.forEach(in: bytes) { text = Quantities.value($0) }
        return text
    }
}
