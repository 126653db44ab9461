// Empty: libFuzzer brings the main function, which calls LLVMFuzzerTestOneInput of FuzzFiles.swift.
extern int LLVMFuzzerTestOneInput(const unsigned char *start, long count);
int (*const nnstore_fuzz_target)(const unsigned char *, long) = LLVMFuzzerTestOneInput;
