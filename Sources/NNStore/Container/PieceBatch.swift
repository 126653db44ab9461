/// Pieces of storages that can be read at the same time, because no two of them go to the same bytes.
struct PieceBatch {
    private(set) var pieces: [ChunkReader.Piece] = []
    /// The numbers of the pieces of each memory, in the order of their places in it.
    private var places: [ObjectIdentifier: [Int]] = [:]

    /// Adds a piece, unless it goes to bytes that another one goes to; returns whether all is well. The same piece a
    /// second time (tied parameters) is left out.
    mutating func add(_ piece: ChunkReader.Piece) -> Bool {
        let memory = ObjectIdentifier(piece.memory)
        let numbers = places[memory] ?? []
        // The first that ends behind the piece's beginning. Those there are do not overlap, so their ends are in order.
        var (low, high) = (0, numbers.count)
        while low < high {
            let middle = (low + high) / 2
            if pieces[numbers[middle]].end <= piece.offset { low = middle + 1 } else { high = middle }
        }
        if low < numbers.count, pieces[numbers[low]].offset < piece.end {
            let other = pieces[numbers[low]]
            return other.storage.id == piece.storage.id && other.range == piece.range && other.offset == piece.offset
        }
        places[memory, default: []].insert(pieces.count, at: low)
        pieces.append(piece)
        return true
    }
}

extension ChunkReader.Piece {
    /// Where in the memory it ends.
    fileprivate var end: Int { offset + range.count }
}
