// TensorRT's engines of a bundle's plans, and execution contexts at fixed shapes.
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

/// Names and shapes; what is not float32 stands in the contract.
using Tensors = std::map<std::string, Dimensions>;

/// The library's version, as plan.json has it.
std::string tensorrt_version();

/// An execution context whose inputs have fixed shapes.
class TensorRTContext {
 public:
  TensorRTContext(std::shared_ptr<nvinfer1::ICudaEngine> engine, const std::string& graph, const Tensors& inputs);

  /// Start one execution; the address of every input and output by name.
  void enqueue(const std::vector<std::pair<const char*, char*>>& addresses, const CudaStream& stream);

 private:
  std::shared_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::string graph_;
};

/// The plans of a folder, each deserialised once.
class TensorRTEngines {
 public:
  explicit TensorRTEngines(PlanFolder plans);

  /// Open a graph for these input shapes; its inputs and outputs must have the contract's names and types.
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
