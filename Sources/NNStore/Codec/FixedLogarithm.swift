/// Logarithms of whole numbers in 1/65536, the same on every machine.
enum FixedLogarithm {
    /// log₂(e)/2 in 1/65536.
    static let halfBase2OfE = 47_274

    private static let table: [Int] = (0...8192).map { $0 == 0 ? 0 : compute($0) }

    /// The binary logarithm of a number from 1 to 2^31.
    static func base2(_ value: Int) -> Int { value < table.count ? table[value] : compute(value) }

    /// The same, quickly and for any positive number, up to 1/2048 too small.
    static func roughBase2(_ value: Int) -> Int {
        let excess = max(0, Int.bitWidth - 13 - value.leadingZeroBitCount)
        return table[value >> excess] + excess << 16
    }

    /// Bit by bit: squaring a number between 1 and 2 doubles its logarithm.
    private static func compute(_ value: Int) -> Int {
        let whole = Int.bitWidth - 1 - value.leadingZeroBitCount
        // Between 1 and 2, with 31 bits after the point.
        var rest = UInt64(value) << UInt64(31 - whole)
        var result = whole
        for _ in 0..<16 {
            rest = (rest * rest) >> 31
            result <<= 1
            if rest >= 1 << 32 {
                rest >>= 1
                result |= 1
            }
        }
        return result
    }
}
