// The functions of one tensor as methods: `x.exp()` is `exp(x)`.

extension Tensor {
    /// ``NNTensor/abs(_:)``
    public func abs() throws -> Tensor { try UnaryOperation.absolute(self) }
    /// ``NNTensor/sign(_:)``
    public func sign() throws -> Tensor { try UnaryOperation.sign(self) }
    /// ``NNTensor/exp(_:)``
    public func exp() throws -> Tensor { try UnaryOperation.exp(self) }
    /// ``NNTensor/log(_:)``
    public func log() throws -> Tensor { try UnaryOperation.log(self) }
    /// ``NNTensor/sqrt(_:)``
    public func sqrt() throws -> Tensor { try UnaryOperation.sqrt(self) }
    /// ``NNTensor/tanh(_:)``
    public func tanh() throws -> Tensor { try UnaryOperation.tanh(self) }
    /// ``NNTensor/sigmoid(_:)``
    public func sigmoid() throws -> Tensor { try UnaryOperation.sigmoid(self) }
    /// ``NNTensor/relu(_:)``
    public func relu() throws -> Tensor { try UnaryOperation.relu(self) }
    /// ``NNTensor/pow(_:_:)-(Tensor,Double)``
    public func pow(_ exponent: Double) throws -> Tensor { try BinaryOperation.power(self, Tensor(number: exponent)) }
    /// ``NNTensor/clamp(_:minimum:maximum:)``
    public func clamp(minimum: Double? = nil, maximum: Double? = nil) throws -> Tensor {
        try NNTensor.clamp(self, minimum: minimum, maximum: maximum)
    }
    /// ``NNTensor/softmax(_:dimension:)``
    public func softmax(dimension: Int) throws -> Tensor { try NNTensor.softmax(self, dimension: dimension) }
    /// ``NNTensor/logSoftmax(_:dimension:)``
    public func logSoftmax(dimension: Int) throws -> Tensor { try NNTensor.logSoftmax(self, dimension: dimension) }
    /// ``NNTensor/matmul(_:_:)``
    public func matmul(_ other: Tensor) throws -> Tensor { try NNTensor.matmul(self, other) }
}
