import NNStore

/// A layer, a block of layers, a whole model: what maps tensors to tensors and may have parameters.
///
/// A subclass declares its parameters, buffers and inner modules as stored properties; they are found without being
/// registered, under their names:
///
/// ```swift
/// final class MLP: Module {
///     let hidden = Linear(20, 256)
///     let output = Linear(256, 10)
///     override func forward(_ x: Tensor) throws -> Tensor { try output(relu(hidden(x))) }
/// }
/// ```
///
/// ``Parameter`` and ``Buffer`` properties are state, other tensors are not. Optionals, arrays and tuples are looked into (a
/// module in an array has its index in its name: `blocks.0.weight`), and so is what a superclass declares. Structs and other
/// classes are not, and a dictionary of modules stops the program: its order changes from run to run; ``ModuleDict`` is one that
/// keeps it. A property that leads back to a module that it is inside of is not followed.
open class Module {
    /// A module with nothing in it.
    public init() {}

    /// Whether the module trains; layers like ``Dropout`` do something else then. ``train(_:)`` sets it.
    public final private(set) var isTraining = true

    /// What the module makes of a tensor. To be overridden; a module that takes something else than one tensor may have
    /// functions of its own instead.
    ///
    /// - Throws: ``TensorError`` where the tensor does not fit.
    open func forward(_ x: Tensor) throws -> Tensor {
        throw TensorError.invalidArgument(
            operation: typeName,
            reason: "it has no forward(_:). Override it, or call the function that the module has instead")
    }

    /// ``forward(_:)``: `try net(x)`.
    public final func callAsFunction(_ x: Tensor) throws -> Tensor { try forward(x) }

    /// The name of the module's type, as it is printed and as it stands in state dicts.
    open var typeName: String { String("\(type(of: self))".prefix { $0 != "<" }) }

    /// What stands in brackets when the module is printed, such as `in_features=20`.
    open var details: String { "" }

    /// The version of the type's state dict; a state dict records it. A type whose entries get other names or shapes counts
    /// it up.
    open class var stateVersion: Int { 1 }

    /// How entries of older versions become those of ``stateVersion``: a step for each version that does not just go over into
    /// the next one. Loading takes them, in order, before anything is compared.
    open class var stateMigrations: [StateMigration] { [] }

    /// The parameters, buffers and modules that the module itself has, by name: those among its stored properties, those of
    /// superclasses first. Overridden where the modules are in some collection.
    open var members: [(name: String, member: ModuleMember)] { ModuleMember.storedProperties(of: self) }

    // MARK: Mode

    /// Makes this and all inner modules train, or not.
    @discardableResult
    public final func train(_ isTraining: Bool = true) -> Self {
        for module in modules() { module.isTraining = isTraining }
        return self
    }

    /// Makes this and all inner modules evaluate: ``Dropout`` lets everything through, batch norms use what they have learned.
    @discardableResult
    public final func eval() -> Self { train(false) }

    // MARK: All at once

    /// Calls `body` with every inner module and at last this one, as PyTorch's `apply`: what is inside comes first.
    @discardableResult
    public final func apply(_ body: (Module) throws -> Void) rethrows -> Self {
        for child in children { try child.apply(body) }
        try body(self)
        return self
    }

    /// Forgets the gradients of all parameters.
    public final func zeroGrad() {
        for parameter in parameters() { parameter.grad = nil }
    }

    /// Makes all parameters want gradients, or not.
    @discardableResult
    public final func requireGrad(_ wanted: Bool = true) -> Self {
        for parameter in parameters() { parameter.requiresGrad = wanted }
        return self
    }

    /// Makes all parameters keep their values: they want no gradients any more.
    @discardableResult
    public final func freeze() -> Self { requireGrad(false) }

    /// Makes all parameters learn again.
    @discardableResult
    public final func unfreeze() -> Self { requireGrad(true) }
}
