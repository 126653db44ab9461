import CCUDA
import Synchronization

/// The kernels that were compiled for a device: each file when one of its kernels is first used.
final class KernelModules: Sendable {
    /// Sendable because it stands behind the lock, and safe to hold because only calls of the driver use the handles, which are
    /// valid until ``release(_:)``.
    private struct State: @unchecked Sendable {
        @safe struct Module {
            let handle: nnstore_cu_module
        }
        @safe struct Function {
            let handle: nnstore_cu_function
        }

        var modules: [UInt32: Module] = [:]
        var functions: [Kernel: Function] = [:]
    }

    private let state = Mutex(State())

    /// Begins a kernel in the compute lane.
    ///
    /// - Parameter arguments: the one argument that the kernel takes.
    func launch<Arguments: BitwiseCopyable>(
        _ kernel: Kernel, blocks: UInt32, threads: UInt32, _ arguments: Arguments, _ context: DeviceContext
    ) throws(DeviceError) {
        var arguments = arguments
        try context.with { functions throws(DeviceError) in
            let function = try function(kernel, functions, context)
            // Sound: the kernel takes one argument of this type, which the driver copies before it returns.
            let result = unsafe withUnsafeMutableBytes(of: &arguments) { bytes in
                var parameter = bytes.baseAddress
                return unsafe functions.launch(
                    function.handle, blocks, 1, 1, threads, 1, 1, 0, context.stream(.compute), &parameter, nil)
            }
            try context.check(result, "beginning the kernel \(kernel.name)")
        }
    }

    private func function(
        _ kernel: Kernel, _ functions: DriverFunctions, _ context: DeviceContext
    ) throws(DeviceError) -> State.Function {
        try state.withLock { state throws(DeviceError) in
            if let function = state.functions[kernel] { return function }
            if state.modules[kernel.file] == nil {
                var module: nnstore_cu_module?
                let text = unsafe nnstore_kernels_text(nnstore_kernels(rawValue: kernel.file))
                try context.check(
                    unsafe functions.loadModule(&module, text), "compiling the kernels of \(kernel.name)")
                state.modules[kernel.file] = unsafe State.Module(handle: module!)
            }
            var handle: nnstore_cu_function?
            try context.check(
                unsafe functions.moduleFunction(&handle, state.modules[kernel.file]!.handle, kernel.name),
                "looking for the kernel \(kernel.name)")
            let function = unsafe State.Function(handle: handle!)
            state.functions[kernel] = function
            return function
        }
    }

    /// Gives the modules back. The context is the current one.
    func release(_ functions: DriverFunctions) {
        state.withLock { state in
            for module in state.modules.values { _ = unsafe functions.unloadModule(module.handle) }
            state = State()
        }
    }
}
