// A replacement of TensorRT with the functions that cyto_bench calls. A plan is the path of its ONNX graph, which
// OpenVINO computes.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace nvinfer1 {

enum class DataType { kFLOAT = 0, kHALF = 1, kBOOL = 4, kUINT8 = 5 };
enum class TensorIOMode { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };
enum class OptProfileSelector { kMIN = 0, kOPT = 1, kMAX = 2 };

struct Dims {
  std::int32_t nbDims;
  std::int64_t d[8];
};

class ILogger {
 public:
  enum class Severity { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
  virtual void log(Severity severity, const char* message) noexcept = 0;
  virtual ~ILogger() = default;
};

class ICudaEngine;

class IExecutionContext {
 public:
  explicit IExecutionContext(const ICudaEngine& engine);
  ~IExecutionContext();
  bool setInputShape(const char* name, const Dims& dims);
  bool setTensorAddress(const char* name, void* address);
  bool enqueueV3(cudaStream_t stream);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

class ICudaEngine {
 public:
  explicit ICudaEngine(const std::string& graph);
  ~ICudaEngine();
  IExecutionContext* createExecutionContext();
  std::int32_t getNbIOTensors() const;
  const char* getIOTensorName(std::int32_t index) const;
  TensorIOMode getTensorIOMode(const char* name) const;
  DataType getTensorDataType(const char* name) const;
  Dims getProfileShape(const char* name, std::int32_t profile, OptProfileSelector select) const;

  struct Graph;
  std::unique_ptr<Graph> graph;
};

class IRuntime {
 public:
  ICudaEngine* deserializeCudaEngine(const void* plan, std::size_t size_bytes);
};

IRuntime* createInferRuntime(ILogger& logger);

}  // namespace nvinfer1

std::int32_t getInferLibMajorVersion();
std::int32_t getInferLibMinorVersion();
std::int32_t getInferLibPatchVersion();
std::int32_t getInferLibBuildVersion();
