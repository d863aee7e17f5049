// Owners of objects of CUDA's runtime: memory, a stream, events and a captured graph.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <string>

namespace cyto {

/// Throw RunError that names the call, unless the call succeeded.
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
  /// Return the time between two events. Both must have happened.
  double milliseconds_since(const CudaEvent& before) const;

 private:
  cudaEvent_t event_ = nullptr;
};

/// GPU memory, zeroed on the stream.
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

/// Pinned host memory, so that copies run in parallel to the host.
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

/// Start a copy between host and GPU, in either direction.
void start_copy(void* target, const void* source, std::size_t size_bytes, const CudaStream& stream);

/// The captured work of a stream, launched as one.
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
