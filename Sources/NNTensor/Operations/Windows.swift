import CVectorMath

/// A number for the height and one for the width of an image.
public struct Extent2d: Sendable, Hashable, ExpressibleByIntegerLiteral {
    /// For the height, and for the width.
    public var height: Int, width: Int

    /// One number for the height and one for the width.
    public init(_ height: Int, _ width: Int) { (self.height, self.width) = (height, width) }

    /// The same number for both.
    public init(integerLiteral value: Int) { self.init(value, value) }

    /// As PyTorch prints it.
    var text: String { "(\(height), \(width))" }

    /// As PyTorch prints it where one number for both was given.
    var shortText: String { height == width ? "\(height)" : text }
}

/// How windows slide over images.
struct Windows: Sendable {
    let kernel: Extent2d
    let stride: Extent2d
    let padding: Extent2d
    let dilation: Extent2d

    /// The windows in an image of `channels` channels.
    ///
    /// - Throws: ``TensorError/invalidArgument(operation:reason:)`` for extents that make no sense;
    ///   ``TensorError/shapeMismatch(operation:shapes:reason:)`` if no window fits into the image.
    func placed(in image: [Int], channels: Int, _ operation: String) throws -> nnstore_windows {
        let (height, width) = (image[image.count - 2], image[image.count - 1])
        for extent in [kernel, stride, dilation] where extent.height < 1 || extent.width < 1 {
            throw TensorError.invalidArgument(
                operation: operation,
                reason: "kernel \(kernel.text), stride \(stride.text) and dilation \(dilation.text) must be at least 1")
        }
        guard padding.height >= 0, padding.width >= 0 else {
            throw TensorError.invalidArgument(operation: operation, reason: "padding \(padding.text) is negative")
        }
        func count(_ extent: Int, _ kernel: Int, _ stride: Int, _ padding: Int, _ dilation: Int) throws -> Int {
            // Checked, because what a caller asks for may be anything.
            let (reach, overflow) = (kernel - 1).multipliedReportingOverflow(by: dilation)
            let (twice, tooWide) = padding.multipliedReportingOverflow(by: 2)
            let (padded, tooLong) = extent.addingReportingOverflow(twice)
            guard !overflow, !tooWide, !tooLong, reach < padded else {
                throw TensorError.shapeMismatch(
                    operation: operation, shapes: [image, [self.kernel.height, self.kernel.width]],
                    reason:
                        "a window with dilation \(self.dilation.text) is larger than the image with its padding \(self.padding.text)"
                )
            }
            return (padded - reach - 1) / stride + 1
        }
        return nnstore_windows(
            channels: channels, height: height, width: width, kernel_height: kernel.height, kernel_width: kernel.width,
            stride_height: stride.height, stride_width: stride.width, padding_height: padding.height,
            padding_width: padding.width, dilation_height: dilation.height, dilation_width: dilation.width,
            out_height: try count(height, kernel.height, stride.height, padding.height, dilation.height),
            out_width: try count(width, kernel.width, stride.width, padding.width, dilation.width))
    }
}
