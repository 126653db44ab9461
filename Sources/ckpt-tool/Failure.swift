import NNDevices
import NNInterop
import NNSigning
import NNStore

/// What the tool says and returns after an error of the libraries.
struct Failure {
    let message: String
    let exitCode: Int32

    /// The file is bad, or refused, or differs.
    static let badFile: Int32 = 1
    /// The command was wrong, or the system refused.
    static let badCommand: Int32 = 2

    /// `nil` for errors that are not the libraries', such as mistakes in the arguments.
    init?(_ error: any Error) {
        switch error {
        case let error as StoreError:
            message =
                switch error {
                case .destinationExists(let path):
                    "\(path): exists already; choose another name, or replace it with --force"
                case .destinationReferenced(let path):
                    "\(path): other files were declared to refer to it, so replacing it would break them; choose another "
                        + "name, or replace it with --force-referenced"
                case .damaged, .incomplete:
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
            message = error.description
            exitCode = Failure.badFile
        case let error as SigningError:
            message = error.description
            exitCode = if case .invalidKey = error { Failure.badCommand } else { Failure.badFile }
        case let error as DeviceError:
            message = error.description
            exitCode = Failure.badCommand
        default: return nil
        }
    }
}
