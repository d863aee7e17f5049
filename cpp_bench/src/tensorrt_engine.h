// TensorRT engines of the plans of a bundle, and execution contexts at fixed shapes.
#pragma once

#include <NvInfer.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda.h"
#include "plans.h"

namespace cyto {

using Dimensions = std::vector<std::size_t>;

/// Names and shapes of tensors. The contract states which tensors are not float32.
using Tensors = std::map<std::string, Dimensions>;

/// Return the version of the library, in the form of plan.json.
std::string tensorrt_version();

/// An execution context whose inputs have fixed shapes.
class TensorRTContext {
 public:
  TensorRTContext(std::shared_ptr<nvinfer1::ICudaEngine> engine, const std::string& graph, const Tensors& inputs);

  /// Start one execution. Takes the address of every input and output by name.
  void enqueue(const std::vector<std::pair<const char*, char*>>& addresses, const CudaStream& stream);

 private:
  std::shared_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::string graph_;
};

/// The plans of a folder. Each plan is deserialised once.
class TensorRTEngines {
 public:
  explicit TensorRTEngines(PlanFolder plans);

  /// Open a graph for these input shapes. Its inputs and outputs must have the names and types of the contract.
  std::unique_ptr<TensorRTContext> open(const std::string& graph, const Tensors& inputs,
                                        const std::vector<std::string>& outputs);

 private:
  class Logger : public nvinfer1::ILogger {
   public:
    void log(Severity severity, const char* message) noexcept override;
  };

  std::shared_ptr<nvinfer1::ICudaEngine> engine(const std::string& graph);

  Logger logger_;
  PlanFolder plans_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::map<std::string, std::shared_ptr<nvinfer1::ICudaEngine>> engines_;
};

}  // namespace cyto
