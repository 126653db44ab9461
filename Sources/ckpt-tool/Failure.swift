import NNDevices
import NNInterop
import NNSigning
import NNStore

/// What the tool says and returns after an error of the libraries.
struct Failure: Error {
    /// For a terminal: what a hostile file put into it can't command one.
    let message: String
    let exitCode: Int32

    /// The file is bad, or refused, or differs.
    static let badFile: Int32 = 1
    /// The command was wrong, or the system refused.
    static let badCommand: Int32 = 2

    init(message: String, exitCode: Int32) {
        self.message = message
        self.exitCode = exitCode
    }

    /// `nil` for errors that are not the libraries', such as mistakes in the arguments.
    ///
    /// - Parameter advisesRecovery: whether a damaged container is worth a try to recover it.
    init?(_ error: any Error, advisesRecovery: Bool = true) {
        let text: String
        switch error {
        case let failure as Failure:
            self = failure
            return
        case let error as StoreError:
            text =
                switch error {
                case .destinationExists(let path):
                    "\(path): exists already; choose another name, or replace it with --force"
                case .destinationReferenced(let path):
                    "\(path): other files were declared to refer to it, so replacing it would break them; choose another "
                        + "name, or replace it with --force-referenced"
                case .damaged where advisesRecovery, .incomplete where advisesRecovery:
                    error.description + "; or save what is sound of it (ckpt-tool recover)"
                default: error.description
                }
            exitCode =
                switch error {
                case .notAContainer, .incomplete, .damaged, .unsupportedVersion, .unsupportedFeature, .limitExceeded,
                    .invalidLayout, .invalidTree:
                    Failure.badFile
                default: Failure.badCommand
                }
        case let error as InteropError:
            text = error.description
            exitCode = Failure.badFile
        case let error as SigningError:
            text = error.description
            exitCode = if case .invalidKey = error { Failure.badCommand } else { Failure.badFile }
        case let error as DeviceError:
            text = error.description
            exitCode = Failure.badCommand
        default: return nil
        }
        message = printable(text)
    }
}
