import NNInterop
import NNStore

/// How many logical bytes work on a file may go through: a file of kilobytes may stand for terabytes, and honest ones
/// do not.
enum LogicalSizeLimit {
    static func bytes(fileSize: Int) -> Int {
        let (product, overflow) = fileSize.multipliedReportingOverflow(by: 1024)
        return overflow ? .max : max(64 << 30, product)
    }

    /// The bytes of all tensors, each with all its elements, if they are no more than the limit.
    ///
    /// - Parameters:
    ///   - limit: what the command line says.
    ///   - what: whose bytes they are.
    @discardableResult
    static func check(
        _ listing: CheckpointListing, _ limit: ByteSizeArgument?, fileSize: Int, file: String, what: String
    ) throws -> Int {
        let limit = limit?.byteCount ?? bytes(fileSize: fileSize)
        var total = 0
        for tensor in listing.tensors {
            let (sum, overflow) = total.addingReportingOverflow(tensor.layout.byteCount)
            guard !overflow, sum <= limit else {
                throw StoreError.limitExceeded(file: file, what: "\(what) (--max-bytes)", limit: limit, found: "more")
            }
            total = sum
        }
        return total
    }
}
