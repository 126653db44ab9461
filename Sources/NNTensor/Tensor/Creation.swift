import CVectorMath
import NNDevices
import NNStore

// Creating a tensor stops the program where it can't work (a negative extent, no memory), because its place is mostly a
// stored property's initial value, where nothing can throw.

extension Tensor {
    /// A tensor of zeros.
    public static func zeros(_ shape: [Int], dtype: DType = .f32, device: Device = .cpu) -> Tensor {
        orStop { try zeroed(dtype, shape, on: device) }
    }

    /// A tensor of zeros: `Tensor.zeros(2, 3)`.
    public static func zeros(_ shape: Int...) -> Tensor { zeros(shape) }

    /// A tensor of ones.
    public static func ones(_ shape: [Int], dtype: DType = .f32, device: Device = .cpu) -> Tensor {
        full(shape, 1, dtype: dtype, device: device)
    }

    /// A tensor of ones: `Tensor.ones(2, 3)`.
    public static func ones(_ shape: Int...) -> Tensor { ones(shape) }

    /// A tensor whose elements are all `value`.
    public static func full(
        _ shape: [Int], _ value: Double, dtype: DType = .f32, device: Device = .cpu
    ) -> Tensor {
        let tensor = zeros(shape, dtype: dtype, device: device)
        orStop { try tensor.writeValues(of: Tensor(value, dtype: .f64), "full") }
        return tensor
    }

    /// Zeros in the shape and dtype of a tensor.
    public static func zeros(like tensor: Tensor, dtype: DType? = nil) -> Tensor {
        orStop { try zeroed(dtype ?? tensor.dtype, tensor.shape, on: tensor.device) }
    }

    /// Ones in the shape and dtype of a tensor.
    public static func ones(like tensor: Tensor, dtype: DType? = nil) -> Tensor {
        ones(tensor.shape, dtype: dtype ?? tensor.dtype, device: tensor.device)
    }

    /// The integers from `start` up to, but not including, `end`, I64 if nothing else is asked for.
    public static func arange(_ start: Int, _ end: Int, step: Int = 1, dtype: DType = .i64) -> Tensor {
        guard step != 0 else { stop("arange", "a step of 0 never comes to \(end)") }
        return Tensor(Array(stride(from: start, to: end, by: step)), dtype: dtype)
    }

    /// The integers from 0 up to, but not including, `end`, I64 if nothing else is asked for.
    public static func arange(_ end: Int, dtype: DType = .i64) -> Tensor { arange(0, end, dtype: dtype) }

    /// The numbers `start`, `start + step` and so on before `end`, F32 if nothing else is asked for.
    public static func arange(_ start: Double, _ end: Double, step: Double = 1, dtype: DType = .f32) -> Tensor {
        guard step != 0 else { stop("arange", "a step of 0 never comes to \(end)") }
        return Tensor(Array(stride(from: start, to: end, by: step)), dtype: dtype)
    }

    /// `count` numbers at equal distances from `start` to `end`, both included.
    public static func linspace(_ start: Double, _ end: Double, count: Int, dtype: DType = .f32) -> Tensor {
        guard count >= 0 else { stop("linspace", "\(count) numbers are impossible") }
        let step = count > 1 ? (end - start) / Double(count - 1) : 0
        // From both ends, so that the last one is `end` itself.
        let numbers = (0..<count).map {
            $0 < (count + 1) / 2 ? start + step * Double($0) : end - step * Double(count - 1 - $0)
        }
        return Tensor(numbers, dtype: dtype)
    }

    /// The matrix with ones on its diagonal, `rows` by `columns` (as many as rows if not given).
    public static func eye(_ rows: Int, _ columns: Int? = nil, dtype: DType = .f32) -> Tensor {
        let matrix = zeros([rows, columns ?? rows], dtype: dtype)
        orStop {
            let diagonal = Swift.min(rows, columns ?? rows)
            let layout = try TensorLayout(dtype, shape: [diagonal], strides: [(columns ?? rows) + 1])
            try Tensor(matrix.storage, layout).writeValues(of: Tensor([1.0], dtype: .f64), "eye")
        }
        return matrix
    }
}

extension Tensor {
    /// A tensor of one dimension from an array, with the dtype of its elements if nothing else is asked for.
    public convenience init<Element: TensorElement>(_ elements: [Element], dtype: DType? = nil) {
        self.init(elements, shape: [elements.count], dtype: dtype)
    }

    /// A tensor of one dimension from an array of numbers, F32 if nothing else is asked for, as PyTorch makes of them.
    public convenience init(_ elements: [Double], dtype: DType = .f32) {
        self.init(elements, shape: [elements.count], dtype: dtype)
    }

    /// A tensor of one dimension from an array of truth values, BOOL.
    public convenience init(_ elements: [Bool]) { self.init(elements, shape: [elements.count]) }

    /// A matrix from its rows, which are equally long.
    public convenience init<Element: TensorElement>(_ rows: [[Element]], dtype: DType? = nil) {
        self.init(Tensor.joined(rows), shape: [rows.count, rows.first?.count ?? 0], dtype: dtype)
    }

    /// A matrix from its rows, which are equally long, F32 if nothing else is asked for.
    public convenience init(_ rows: [[Double]], dtype: DType = .f32) {
        self.init(Tensor.joined(rows), shape: [rows.count, rows.first?.count ?? 0], dtype: dtype)
    }

    /// A matrix of truth values from its rows, which are equally long, BOOL.
    public convenience init(_ rows: [[Bool]]) {
        self.init(Tensor.joined(rows), shape: [rows.count, rows.first?.count ?? 0])
    }

    /// A tensor from its elements in row-major order, with their dtype if nothing else is asked for.
    public convenience init<Element: TensorElement>(_ elements: [Element], shape: [Int], dtype: DType? = nil) {
        self.init(copying: elements, Element.dtype, shape, dtype ?? Element.dtype)
    }

    /// A tensor from its elements in row-major order, F32 if nothing else is asked for.
    public convenience init(_ elements: [Double], shape: [Int], dtype: DType = .f32) {
        self.init(copying: elements, .f64, shape, dtype)
    }

    /// A tensor of truth values in row-major order, BOOL.
    public convenience init(_ elements: [Bool], shape: [Int]) {
        self.init(copying: elements.map { $0 ? 1 : 0 } as [UInt8], .bool, shape, .bool)
    }

    /// A number as a tensor without dimensions.
    public convenience init(_ value: Double, dtype: DType = .f32) { self.init([value], shape: [], dtype: dtype) }

    /// A number as a tensor without dimensions, with its dtype.
    public convenience init<Element: TensorElement>(_ value: Element) { self.init([value], shape: []) }

    private convenience init<Element: BitwiseCopyable>(
        copying elements: [Element], _ elementType: DType, _ shape: [Int], _ dtype: DType
    ) {
        let tensor = orStop {
            let layout = try TensorLayout(elementType, shape: shape)
            guard layout.elementCount == elements.count else {
                throw TensorError.invalidArgument(
                    operation: "Tensor",
                    reason: "shape \(shape) has \(layout.elementCount) elements, \(elements.count) were given")
            }
            return try Tensor(Storage(copying: elements), layout).converted(to: dtype, "Tensor")
        }
        self.init(tensor.storage, tensor.layout)
    }

    private static func joined<Element>(_ rows: [[Element]]) -> [Element] {
        let width = rows.first?.count ?? 0
        if let odd = rows.firstIndex(where: { $0.count != width }) {
            stop("Tensor", "row \(odd) has \(rows[odd].count) elements, row 0 has \(width)")
        }
        return rows.flatMap(\.self)
    }
}
