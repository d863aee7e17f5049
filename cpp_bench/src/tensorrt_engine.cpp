#include "tensorrt_engine.h"

#include <iostream>

#include "error.h"
#include "json_field.h"

namespace cyto {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorIOMode;

DataType type_of(const std::string& tensor) {
  if (tensor == "images") return DataType::kUINT8;
  if (tensor == "finite") return DataType::kBOOL;
  return DataType::kFLOAT;
}

using Signature = std::map<std::string, std::pair<TensorIOMode, DataType>>;

std::string shown(const Signature& signature) {
  std::vector<std::string> words;
  for (const auto& [name, kind] : signature) {
    words.push_back(std::string(kind.first == TensorIOMode::kINPUT ? "input " : "output ") + name + " of type " +
                    std::to_string(static_cast<int>(kind.second)));
  }
  return joined(words);
}

void check_signature(const nvinfer1::ICudaEngine& engine, const std::string& graph, const Tensors& inputs,
                     const std::vector<std::string>& outputs) {
  Signature found, expected;
  for (int i = 0; i < engine.getNbIOTensors(); ++i) {
    const char* name = engine.getIOTensorName(i);
    found[name] = {engine.getTensorIOMode(name), engine.getTensorDataType(name)};
  }
  for (const auto& [name, _] : inputs) expected[name] = {TensorIOMode::kINPUT, type_of(name)};
  for (const std::string& name : outputs) expected[name] = {TensorIOMode::kOUTPUT, type_of(name)};
  if (found != expected) {
    throw RunError("The tensors in the plan of " + graph, shown(found), shown(expected),
                   "export the bundle again with the exporter of this version, then its plans");
  }
}

nvinfer1::Dims dims_of(const Dimensions& shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) dims.d[i] = static_cast<std::int64_t>(shape[i]);
  return dims;
}

std::string shown(const nvinfer1::Dims& dims) {
  std::vector<std::string> sizes;
  for (int i = 0; i < dims.nbDims; ++i) sizes.push_back(std::to_string(dims.d[i]));
  return "(" + joined(sizes) + ")";
}

}  // namespace

std::string tensorrt_version() {
  return std::to_string(getInferLibMajorVersion()) + "." + std::to_string(getInferLibMinorVersion()) + "." +
         std::to_string(getInferLibPatchVersion()) + "." + std::to_string(getInferLibBuildVersion());
}

TensorRTContext::TensorRTContext(std::shared_ptr<nvinfer1::ICudaEngine> engine, const std::string& graph,
                                 const Tensors& inputs)
    : engine_(std::move(engine)), context_(engine_->createExecutionContext()), graph_(graph) {
  if (!context_)
    throw RunError("The plan of " + graph, "no execution context", "an execution context",
                   "use a smaller --batch or fewer --streams");
  for (const auto& [name, shape] : inputs) {
    if (!context_->setInputShape(name.c_str(), dims_of(shape))) {
      const auto limit = [&](nvinfer1::OptProfileSelector which) {
        return shown(engine_->getProfileShape(name.c_str(), 0, which));
      };
      throw RunError(
          "The plan of " + graph + ", input " + name, "the shape " + shown(dims_of(shape)),
          "between " + limit(nvinfer1::OptProfileSelector::kMIN) + " and " + limit(nvinfer1::OptProfileSelector::kMAX),
          "use a --batch that the plan was built for, or build another plan");
    }
  }
}

void TensorRTContext::enqueue(const std::vector<std::pair<const char*, char*>>& addresses, const CudaStream& stream) {
  bool accepted = true;
  for (const auto& [name, address] : addresses) accepted = context_->setTensorAddress(name, address) && accepted;
  if (!accepted || !context_->enqueueV3(stream.get())) {
    throw RunError("The execution of " + graph_ + " by TensorRT", "a failure", "success",
                   "free GPU memory or use a smaller --batch; if it still fails, build the plan again on this GPU");
  }
}

TensorRTEngines::TensorRTEngines(PlanFolder plans)
    : plans_(std::move(plans)), runtime_(nvinfer1::createInferRuntime(logger_)) {
  if (!runtime_) {
    throw RunError("TensorRT " + tensorrt_version(), "no runtime", "a runtime",
                   "build cyto_bench again with TENSORRT_ROOT set to the folder of this version, and check with "
                   "nvidia-smi that the GPU's driver works");
  }
}

void TensorRTEngines::Logger::log(Severity severity, const char* message) noexcept {
  if (severity <= Severity::kWARNING) std::cerr << "TensorRT: " << message << "\n";
}

std::shared_ptr<nvinfer1::ICudaEngine> TensorRTEngines::engine(const std::string& graph) {
  std::shared_ptr<nvinfer1::ICudaEngine>& engine = engines_[graph];
  if (!engine) {
    const std::string content = plans_.open(graph);
    engine.reset(runtime_->deserializeCudaEngine(content.data(), content.size()));
  }
  if (!engine) {
    throw RunError("The plan of " + graph + " in " + plans_.folder.string(), "a plan that TensorRT cannot read",
                   "a plan built by " + tensorrt_version(), "build the plan again with `python -m exporter tensorrt`");
  }
  return engine;
}

std::unique_ptr<TensorRTContext> TensorRTEngines::open(const std::string& graph, const Tensors& inputs,
                                                       const std::vector<std::string>& outputs) {
  const std::shared_ptr<nvinfer1::ICudaEngine> opened = engine(graph);
  check_signature(*opened, graph, inputs, outputs);
  return std::make_unique<TensorRTContext>(opened, graph, inputs);
}

}  // namespace cyto
