/// A NumPy array put together by hand.
func npy(
    _ description: String, _ shape: [Int], _ data: [UInt8], fortran: Bool = false, version: UInt8 = 1
) -> [UInt8] {
    let extents = shape.map { "\($0)," }.joined(separator: " ")
    return npy(
        header: "{'descr': '\(description)', 'fortran_order': \(fortran ? "True" : "False"), 'shape': (\(extents)), }",
        data, version: version)
}

/// A NumPy array with any header.
func npy(header: String, _ data: [UInt8], version: UInt8 = 1, minor: UInt8 = 0) -> [UInt8] {
    let length = le(header.utf8.count + 1, version == 1 ? 2 : 4)
    return [0x93] + Array("NUMPY".utf8) + [version, minor] + length + header.utf8 + [0x0a] + data
}
