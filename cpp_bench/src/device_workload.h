// Workloads that stay on the GPU between their inputs and outputs.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "backend.h"
#include "cuda.h"
#include "tensorrt_engine.h"

namespace cyto {

/// Uploads, then work that is only started on the stream, then downloads. Its parts are "h2d", "compute" and "d2h" on
/// the GPU's clock, and "enqueue", the time that the host needs to start the work.
class DeviceWorkload : public Workload {
 public:
  Sample run() override;

 protected:
  /// Run the work once, and capture it if `cuda_graph` is set. Call this once after everything is allocated. The first
  /// run does set-up work of the runtime, which must not be captured.
  void prepare(bool cuda_graph);

  /// Return zeroed GPU memory.
  char* allocate(std::size_t size_bytes);
  /// Return GPU memory with these values.
  char* constant(const std::vector<float>& values);
  /// Return GPU memory to which each run copies these values.
  char* input(const std::vector<float>& values);
  /// Return host memory to which each run copies these bytes of the GPU.
  const void* read_back(const char* device, std::size_t size_bytes);

  /// Start all work on the stream.
  virtual void start() = 0;

  CudaStream stream_;

 private:
  struct Copy {
    void* target;
    const void* source;
    std::size_t size_bytes;
  };

  std::vector<std::unique_ptr<DeviceMemory>> device_;
  std::vector<std::unique_ptr<PinnedMemory>> host_;
  std::vector<Copy> uploads_, downloads_;
  std::array<CudaEvent, 4> events_;
  std::unique_ptr<CudaGraph> graph_;
};

/// Return the workload of a setting. The task and the engines must outlive the workload.
std::unique_ptr<Workload> make_device_workload(const Task& task, const Setting& setting, TensorRTEngines& engines);

}  // namespace cyto
