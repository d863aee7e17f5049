#include "cuda.h"

#include "error.h"

namespace cyto {

void cuda_check(cudaError_t error, const std::string& call) {
  if (error != cudaSuccess) {
    throw RunError("CUDA's " + call, "error " + std::to_string(error) + " (" + cudaGetErrorString(error) + ")",
                   "success", "check the GPU with `engine doctor`, or use a smaller --batch, which needs less memory");
  }
}

double CudaEvent::milliseconds_since(const CudaEvent& before) const {
  float found = 0;
  cuda_check(cudaEventElapsedTime(&found, before.event_, event_), "cudaEventElapsedTime");
  return found;
}

DeviceMemory::DeviceMemory(std::size_t size_bytes, const CudaStream& stream) {
  cuda_check(cudaMalloc(&memory_, size_bytes), "cudaMalloc");
  const cudaError_t error = cudaMemsetAsync(memory_, 0, size_bytes, stream.get());
  if (error != cudaSuccess) {
    cudaFree(memory_);
    cuda_check(error, "cudaMemsetAsync");
  }
}

void start_copy(void* target, const void* source, std::size_t size_bytes, const CudaStream& stream) {
  cuda_check(cudaMemcpyAsync(target, source, size_bytes, cudaMemcpyDefault, stream.get()), "cudaMemcpyAsync");
}

CudaGraph::CudaGraph(const CudaStream& stream, const std::function<void()>& work) {
  cuda_check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    work();
  } catch (...) {
    // End the capture, because a stream in capture refuses all other calls.
    cudaStreamEndCapture(stream.get(), &graph_);
    cudaGraphDestroy(graph_);
    throw;
  }
  cuda_check(cudaStreamEndCapture(stream.get(), &graph_), "cudaStreamEndCapture");
  const cudaError_t error = cudaGraphInstantiateWithFlags(&executable_, graph_, 0);
  if (error != cudaSuccess) {
    cudaGraphDestroy(graph_);
    cuda_check(error, "cudaGraphInstantiateWithFlags");
  }
}

CudaGraph::~CudaGraph() {
  cudaGraphExecDestroy(executable_);
  cudaGraphDestroy(graph_);
}

}  // namespace cyto
