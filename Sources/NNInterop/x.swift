import NNStore
