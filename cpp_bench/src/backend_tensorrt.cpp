#include "backend_tensorrt.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "cuda.h"
#include "device_workload.h"
#include "error.h"
#include "plans.h"
#include "statistics.h"
#include "tensorrt_engine.h"

namespace cyto {
namespace {

struct Gpu {
  std::string name, compute_capability;
  std::size_t memory_bytes;
};

Gpu first_gpu() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    throw RequestError("The backend tensorrt", std::string("no GPU (") + cudaGetErrorString(error) + ")",
                       "an NVIDIA GPU and its driver", "check the driver with `nvidia-smi`, or use --backend openvino");
  }
  cudaDeviceProp properties{};
  cuda_check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  return {properties.name, std::to_string(properties.major) + "." + std::to_string(properties.minor),
          properties.totalGlobalMem};
}

std::vector<double> parts(const Measured& measured, const std::string& name) {
  std::vector<double> found;
  for (const Sample& sample : measured.samples) found.push_back(sample.parts_ms.at(name));
  return found;
}

class TensorRT : public Backend {
 public:
  TensorRT(Gpu gpu, PlanFolder plans) : gpu_(std::move(gpu)), engines_(std::move(plans)) {}

  std::string version() const override {
    return std::string(CYTO_TENSORRT_FLAVOUR) + " " + tensorrt_version() + " on compute capability " +
           gpu_.compute_capability;
  }

  nlohmann::json device() const override {
    int driver = 0, runtime = 0;
    cuda_check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    cuda_check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    return {{"gpu", gpu_.name},
            {"gpu_memory_bytes", gpu_.memory_bytes},
            {"cuda_driver", driver},
            {"cuda_runtime", runtime}};
  }

  bool has_cuda_graphs() const override { return true; }

  std::vector<std::unique_ptr<Workload>> open(const Task& task, const Setting& setting) override {
    std::vector<std::unique_ptr<Workload>> workloads;
    for (std::size_t i = 0; i < setting.streams; ++i) {
      workloads.push_back(make_device_workload(task, setting, engines_));
    }
    return workloads;
  }

  std::vector<std::string> host_limits(const Measured& measured) const override {
    const double enqueue = quantile(parts(measured, "enqueue"), 0.5);
    const double compute = quantile(parts(measured, "compute"), 0.5);
    if (enqueue <= compute) return {};
    return {"the host limits the speed: it needs " + std::to_string(enqueue) + " ms to start the work, the GPU needs " +
            std::to_string(compute) + " ms to compute; a larger --batch or --cuda-graph on may help"};
  }

 private:
  Gpu gpu_;
  TensorRTEngines engines_;
};

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, const std::string& class_name,
                                       const std::vector<std::size_t>& batches) {
  Gpu gpu = first_gpu();
  PlanFolder plans =
      choose_plans(bundle, {CYTO_TENSORRT_FLAVOUR, tensorrt_version(), gpu.compute_capability, class_name, batches});
  return std::make_unique<TensorRT>(std::move(gpu), std::move(plans));
}

}  // namespace cyto
