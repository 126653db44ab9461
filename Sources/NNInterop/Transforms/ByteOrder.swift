extension [UInt8] {
    /// The bytes with each `size` of them turned round: numbers of the other byte order.
    func turningRound(_ size: Int) -> [UInt8] {
        if size == 1 { return self }
        var bytes = self
        for start in stride(from: 0, to: bytes.count - size + 1, by: size) { bytes[start..<start + size].reverse() }
        return bytes
    }
}
