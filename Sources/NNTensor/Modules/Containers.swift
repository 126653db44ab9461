import OrderedCollections

/// Modules one after another: each gets what the one before gave.
///
/// ```swift
/// let net = Sequential(Linear(4, 8), ReLU(), Linear(8, 1))
/// net[2].bias.data
/// ```
public final class Sequential: Module {
    private var entries = OrderedDictionary<String, Module>()

    /// The modules in order, named by their index.
    public convenience init(_ modules: Module...) { self.init(modules) }

    /// The modules in order, named by their index.
    public init(_ modules: [Module]) {
        super.init()
        for module in modules { append(module) }
    }

    /// The modules in order, with their names.
    public init(_ modules: KeyValuePairs<String, Module>) {
        super.init()
        for (name, module) in modules { add(name, module) }
    }

    /// Puts a module at the end, named by its index.
    public func append(_ module: Module) { add(String(entries.count), module) }

    /// Puts a module at the end. Stops the program if the name is empty, taken, or has a point in it.
    public func add(_ name: String, _ module: Module) { entries.insertNew(module, name, typeName) }

    /// The number of modules.
    public var count: Int { entries.count }

    /// The module at an index; negative ones count from the end. Stops the program if there is none.
    public subscript(index: Int) -> Module {
        get { entries.values[place(index)] }
        set { entries.values[place(index)] = newValue }
    }

    /// The module of a name; `nil` if there is none.
    public subscript(name: String) -> Module? { entries[name] }

    private func place(_ index: Int) -> Int {
        let place = index < 0 ? index + count : index
        guard entries.values.indices.contains(place) else {
            stop("Sequential", "there is no module \(index); it has \(count)")
        }
        return place
    }

    public override var members: [(name: String, member: ModuleMember)] { entries.map { ($0.key, .module($0.value)) } }

    public override func forward(_ x: Tensor) throws -> Tensor {
        var value = x
        for module in entries.values { value = try module(value) }
        return value
    }
}

/// Modules by name, in order. What is done with them is up to the module that has it.
public final class ModuleDict: Module {
    private var entries = OrderedDictionary<String, Module>()

    /// The modules in order, with their names.
    public init(_ modules: KeyValuePairs<String, Module> = [:]) {
        super.init()
        for (name, module) in modules { entries.insertNew(module, name, typeName) }
    }

    /// The names in order.
    public var keys: [String] { Array(entries.keys) }

    /// The module of a name: `nil` if there is none; a new one comes last, `nil` takes it away.
    public subscript(name: String) -> Module? {
        get { entries[name] }
        set {
            if let newValue, entries[name] == nil {
                entries.insertNew(newValue, name, typeName)
            } else {
                entries[name] = newValue
            }
        }
    }

    public override var members: [(name: String, member: ModuleMember)] { entries.map { ($0.key, .module($0.value)) } }
}

extension OrderedDictionary<String, Module> {
    fileprivate mutating func insertNew(_ module: Module, _ name: String, _ owner: String) {
        guard !name.isEmpty, !name.contains(".") else {
            stop(owner, "\"\(name)\" can't name a module, because points separate the names in a path")
        }
        guard self[name] == nil else { stop(owner, "there is a module \"\(name)\" already") }
        self[name] = module
    }
}
