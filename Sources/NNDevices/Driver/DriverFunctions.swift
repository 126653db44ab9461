import CCUDA

/// The driver's functions that NNDevices calls.
///
/// What they do with the addresses that they are given is the driver's business. All calls stand in this module's
/// files of the folders Driver and Memory, each with what makes it sound.
@safe struct DriverFunctions {
    let initialize: nnstore_cuInit
    let driverVersion: nnstore_cuDriverGetVersion
    let errorName: nnstore_cuGetErrorText
    let errorMeaning: nnstore_cuGetErrorText
    let deviceCount: nnstore_cuDeviceGetCount
    let device: nnstore_cuDeviceGet
    let deviceName: nnstore_cuDeviceGetName
    let deviceUUID: nnstore_cuDeviceGetUuid
    let deviceAttribute: nnstore_cuDeviceGetAttribute
    let deviceMemory: nnstore_cuDeviceTotalMem
    let retainPrimaryContext: nnstore_cuDevicePrimaryCtxRetain
    let releasePrimaryContext: nnstore_cuDevicePrimaryCtxRelease
    let pushContext: nnstore_cuCtxPushCurrent
    let popContext: nnstore_cuCtxPopCurrent
    let createStream: nnstore_cuStreamCreate
    let destroyStream: nnstore_cuStreamDestroy
    let streamWaitEvent: nnstore_cuStreamWaitEvent
    let createEvent: nnstore_cuEventCreate
    let destroyEvent: nnstore_cuEventDestroy
    let recordEvent: nnstore_cuEventRecord
    let queryEvent: nnstore_cuEventQuery
    let synchronizeEvent: nnstore_cuEventSynchronize
    let memoryInfo: nnstore_cuMemGetInfo
    let allocate: nnstore_cuMemAlloc
    let free: nnstore_cuMemFree
    let createPool: nnstore_cuMemPoolCreate
    let destroyPool: nnstore_cuMemPoolDestroy
    let setPoolAttribute: nnstore_cuMemPoolSetAttribute
    let trimPool: nnstore_cuMemPoolTrimTo
    let allocateFromPool: nnstore_cuMemAllocFromPoolAsync
    let freeAsync: nnstore_cuMemFreeAsync
    let registerHostMemory: nnstore_cuMemHostRegister
    let unregisterHostMemory: nnstore_cuMemHostUnregister
    let allocateHostMemory: nnstore_cuMemHostAlloc
    let freeHostMemory: nnstore_cuMemFreeHost
    let copyToDevice: nnstore_cuMemcpyHtoDAsync
    let copyToHost: nnstore_cuMemcpyDtoHAsync
    let copyOnDevice: nnstore_cuMemcpyDtoDAsync
    let fill: nnstore_cuMemsetD8Async
    let loadModule: nnstore_cuModuleLoadData
    let unloadModule: nnstore_cuModuleUnload
    let moduleFunction: nnstore_cuModuleGetFunction
    let launch: nnstore_cuLaunchKernel

    /// - Throws: ``DeviceError/noDriver(reason:)`` if the library lacks one: it is too old.
    init(_ library: DriverLibrary) throws(DeviceError) {
        // The second name is the one under which the library exports the function of this shape; the unsuffixed ones
        // are an older interface with sizes of 32 bits.
        unsafe initialize = try library.function("cuInit")
        unsafe driverVersion = try library.function("cuDriverGetVersion")
        unsafe errorName = try library.function("cuGetErrorName")
        unsafe errorMeaning = try library.function("cuGetErrorString")
        unsafe deviceCount = try library.function("cuDeviceGetCount")
        unsafe device = try library.function("cuDeviceGet")
        unsafe deviceName = try library.function("cuDeviceGetName")
        unsafe deviceUUID = try library.function("cuDeviceGetUuid", exported: "cuDeviceGetUuid_v2")
        unsafe deviceAttribute = try library.function("cuDeviceGetAttribute")
        unsafe deviceMemory = try library.function("cuDeviceTotalMem", exported: "cuDeviceTotalMem_v2")
        unsafe retainPrimaryContext = try library.function("cuDevicePrimaryCtxRetain")
        unsafe releasePrimaryContext = try library.function(
            "cuDevicePrimaryCtxRelease", exported: "cuDevicePrimaryCtxRelease_v2")
        unsafe pushContext = try library.function("cuCtxPushCurrent", exported: "cuCtxPushCurrent_v2")
        unsafe popContext = try library.function("cuCtxPopCurrent", exported: "cuCtxPopCurrent_v2")
        unsafe createStream = try library.function("cuStreamCreate")
        unsafe destroyStream = try library.function("cuStreamDestroy", exported: "cuStreamDestroy_v2")
        unsafe streamWaitEvent = try library.function("cuStreamWaitEvent")
        unsafe createEvent = try library.function("cuEventCreate")
        unsafe destroyEvent = try library.function("cuEventDestroy", exported: "cuEventDestroy_v2")
        unsafe recordEvent = try library.function("cuEventRecord")
        unsafe queryEvent = try library.function("cuEventQuery")
        unsafe synchronizeEvent = try library.function("cuEventSynchronize")
        unsafe memoryInfo = try library.function("cuMemGetInfo", exported: "cuMemGetInfo_v2")
        unsafe allocate = try library.function("cuMemAlloc", exported: "cuMemAlloc_v2")
        unsafe free = try library.function("cuMemFree", exported: "cuMemFree_v2")
        unsafe createPool = try library.function("cuMemPoolCreate")
        unsafe destroyPool = try library.function("cuMemPoolDestroy")
        unsafe setPoolAttribute = try library.function("cuMemPoolSetAttribute")
        unsafe trimPool = try library.function("cuMemPoolTrimTo")
        unsafe allocateFromPool = try library.function("cuMemAllocFromPoolAsync")
        unsafe freeAsync = try library.function("cuMemFreeAsync")
        unsafe registerHostMemory = try library.function("cuMemHostRegister", exported: "cuMemHostRegister_v2")
        unsafe unregisterHostMemory = try library.function("cuMemHostUnregister")
        unsafe allocateHostMemory = try library.function("cuMemHostAlloc")
        unsafe freeHostMemory = try library.function("cuMemFreeHost")
        unsafe copyToDevice = try library.function("cuMemcpyHtoDAsync", exported: "cuMemcpyHtoDAsync_v2")
        unsafe copyToHost = try library.function("cuMemcpyDtoHAsync", exported: "cuMemcpyDtoHAsync_v2")
        unsafe copyOnDevice = try library.function("cuMemcpyDtoDAsync", exported: "cuMemcpyDtoDAsync_v2")
        unsafe fill = try library.function("cuMemsetD8Async")
        unsafe loadModule = try library.function("cuModuleLoadData")
        unsafe unloadModule = try library.function("cuModuleUnload")
        unsafe moduleFunction = try library.function("cuModuleGetFunction")
        unsafe launch = try library.function("cuLaunchKernel")
    }
}
