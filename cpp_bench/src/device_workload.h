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

/// Uploads, then work that only starts things on the stream, then downloads: the parts "h2d", "compute" and "d2h" on
/// the GPU's clock, and "enqueue", the host's time to start the work.
class DeviceWorkload : public Workload {
 public:
  Sample run() override;

 protected:
  /// Captures the work where that is asked for; to be called once when everything is allocated. It is run before, since
  /// a runtime sets itself up in its first run, which no graph may hold.
  void prepare(bool cuda_graph);

  /// Zeroed memory of the GPU.
  char* allocate(std::size_t size_bytes);
  /// Memory of the GPU with these values.
  char* constant(const std::vector<float>& values);
  /// Memory of the GPU that these values of the host are copied to at each run.
  char* input(const std::vector<float>& values);
  /// Memory of the host that these bytes of the GPU are copied to at each run.
  const void* read_back(const char* device, std::size_t size_bytes);

  /// Start everything on the stream.
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

/// The workload of a setting. The task and the engines must outlive it.
std::unique_ptr<Workload> make_device_workload(const Task& task, const Setting& setting, TensorRTEngines& engines);

}  // namespace cyto
