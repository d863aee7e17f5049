#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

using Work = std::function<void()>;

struct FakeStream {
  bool capturing = false;
  std::vector<Work> captured;
};
struct FakeEvent {
  std::chrono::steady_clock::time_point happened;
};
struct FakeGraph {
  std::vector<Work> work;
};

namespace {

/// Refuse calls that cannot be part of a graph during a capture, as CUDA does.
cudaError_t outside_capture(cudaStream_t stream) {
  return stream->capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

}  // namespace

void fake_submit(cudaStream_t stream, Work work) {
  if (stream->capturing) {
    stream->captured.push_back(std::move(work));
  } else {
    work();
  }
}

const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : "a stand-in's error"; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = std::getenv("CYTO_NO_GPU") == nullptr ? 1 : 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"a stand-in for a GPU", 8, 6, 1024};
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 1;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  *stream = new FakeStream();
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return outside_capture(stream); }

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new FakeEvent();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->happened = std::chrono::steady_clock::now();
  return outside_capture(stream);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t first, cudaEvent_t second) {
  *milliseconds = std::chrono::duration<float, std::milli>(second->happened - first->happened).count();
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t size_bytes) {
  *memory = std::aligned_alloc(256, (size_bytes + 255) / 256 * 256);
  // New memory is not zero.
  std::memset(*memory, 0xff, size_bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t size_bytes) { return cudaMalloc(memory, size_bytes); }

cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t size_bytes, cudaStream_t stream) {
  std::memset(memory, value, size_bytes);
  return outside_capture(stream);
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, std::size_t size_bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  std::memcpy(target, source, size_bytes);
  return outside_capture(stream);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream->capturing = true;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  stream->capturing = false;
  *graph = new FakeGraph{std::exchange(stream->captured, {})};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new FakeGraph(*graph);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const Work& work : executable->work) work();
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return cudaGraphDestroy(executable); }

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
