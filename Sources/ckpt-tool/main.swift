import NNStore
print("hi")
