// CUDA's runtime, as far as it is needed: memory, one stream, events and a captured graph, each freed by its owner.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <string>

namespace cyto {

/// Throws RunError that names the call.
void cuda_check(cudaError_t error, const std::string& call);

class CudaStream {
 public:
  CudaStream() { cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  ~CudaStream() { cudaStreamDestroy(stream_); }

  cudaStream_t get() const { return stream_; }
  void synchronize() const { cuda_check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaEvent {
 public:
  CudaEvent() { cuda_check(cudaEventCreate(&event_), "cudaEventCreate"); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  ~CudaEvent() { cudaEventDestroy(event_); }

  void record(const CudaStream& stream) { cuda_check(cudaEventRecord(event_, stream.get()), "cudaEventRecord"); }
  /// Both events must have happened.
  double milliseconds_since(const CudaEvent& before) const;

 private:
  cudaEvent_t event_ = nullptr;
};

/// The GPU's memory, zeroed on the stream.
class DeviceMemory {
 public:
  DeviceMemory(std::size_t size_bytes, const CudaStream& stream);
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() { cudaFree(memory_); }

  char* get() const { return static_cast<char*>(memory_); }

 private:
  void* memory_ = nullptr;
};

/// The host's memory, pinned, so that copies of it run beside the host.
class PinnedMemory {
 public:
  explicit PinnedMemory(std::size_t size_bytes) { cuda_check(cudaMallocHost(&memory_, size_bytes), "cudaMallocHost"); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  ~PinnedMemory() { cudaFreeHost(memory_); }

  void* get() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

/// Start a copy between the two, in either direction.
void start_copy(void* target, const void* source, std::size_t size_bytes, const CudaStream& stream);

/// What a stream was given while it was captured, to be launched as one.
class CudaGraph {
 public:
  CudaGraph(const CudaStream& stream, const std::function<void()>& work);
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  ~CudaGraph();

  void launch(const CudaStream& stream) { cuda_check(cudaGraphLaunch(executable_, stream.get()), "cudaGraphLaunch"); }

 private:
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace cyto
