import NNTensor

func devices() throws {
    section("Devices")
    let x = Tensor.ones(2, 3)
    print(x.device, Linear(3, 1).weight.device)
}
