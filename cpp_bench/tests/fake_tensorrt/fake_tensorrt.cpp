#include <NvInfer.h>

#include <cstring>
#include <map>
#include <mutex>
#include <openvino/openvino.hpp>
#include <stdexcept>
#include <vector>

namespace nvinfer1 {
namespace {

constexpr std::int64_t kMostRows = 8;

ov::Core& core() {
  static auto* one = new ov::Core();
  return *one;
}

struct Tensor {
  std::string name;
  TensorIOMode mode;
  DataType type;
};

DataType type_of(const ov::element::Type& type) {
  if (type == ov::element::f32) return DataType::kFLOAT;
  if (type == ov::element::u8) return DataType::kUINT8;
  return type == ov::element::boolean ? DataType::kBOOL : DataType::kHALF;
}

}  // namespace

struct ICudaEngine::Graph {
  std::string path;
  std::vector<Tensor> tensors;
  /// Compiled models, by their input shapes in words.
  std::map<std::string, ov::CompiledModel> compiled;
  std::mutex compiling;
};

struct IExecutionContext::State {
  const ICudaEngine* engine;
  std::map<std::string, ov::PartialShape> shapes;
  std::map<std::string, void*> addresses;
  ov::InferRequest request;

  void compile() {
    if (request) return;
    ICudaEngine::Graph& graph = *engine->graph;
    std::string key;
    for (const auto& [name, shape] : shapes) key += name + shape.to_string();
    const std::lock_guard<std::mutex> alone(graph.compiling);
    if (graph.compiled.count(key) == 0) {
      const auto model = core().read_model(graph.path);
      model->reshape(shapes);
      graph.compiled[key] = core().compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32));
    }
    request = graph.compiled[key].create_infer_request();
  }
};

ICudaEngine::ICudaEngine(const std::string& path) : graph(std::make_unique<Graph>()) {
  const auto model = core().read_model(path);
  graph->path = path;
  for (const auto& port : model->inputs()) {
    graph->tensors.push_back({port.get_any_name(), TensorIOMode::kINPUT, type_of(port.get_element_type())});
  }
  for (const auto& port : model->outputs()) {
    graph->tensors.push_back({port.get_any_name(), TensorIOMode::kOUTPUT, type_of(port.get_element_type())});
  }
}

ICudaEngine::~ICudaEngine() = default;

IExecutionContext* ICudaEngine::createExecutionContext() { return new IExecutionContext(*this); }

std::int32_t ICudaEngine::getNbIOTensors() const { return static_cast<std::int32_t>(graph->tensors.size()); }

const char* ICudaEngine::getIOTensorName(std::int32_t index) const {
  return graph->tensors.at(static_cast<std::size_t>(index)).name.c_str();
}

TensorIOMode ICudaEngine::getTensorIOMode(const char* name) const {
  for (const Tensor& tensor : graph->tensors) {
    if (tensor.name == name) return tensor.mode;
  }
  return TensorIOMode::kNONE;
}

DataType ICudaEngine::getTensorDataType(const char* name) const {
  for (const Tensor& tensor : graph->tensors) {
    if (tensor.name == name) return tensor.type;
  }
  throw std::out_of_range(name);
}

Dims ICudaEngine::getProfileShape(const char*, std::int32_t, OptProfileSelector select) const {
  return {1, {select == OptProfileSelector::kMIN ? 1 : kMostRows}};
}

IExecutionContext::IExecutionContext(const ICudaEngine& engine) : state_(std::make_shared<State>()) {
  state_->engine = &engine;
}

IExecutionContext::~IExecutionContext() = default;

bool IExecutionContext::setInputShape(const char* name, const Dims& dims) {
  if (dims.nbDims > 1 && dims.d[0] > kMostRows) return false;
  state_->shapes[name] = ov::PartialShape(std::vector<ov::Dimension>(dims.d, dims.d + dims.nbDims));
  return true;
}

bool IExecutionContext::setTensorAddress(const char* name, void* address) {
  state_->addresses[name] = address;
  return reinterpret_cast<std::uintptr_t>(address) % 256 == 0;
}

bool IExecutionContext::enqueueV3(cudaStream_t stream) {
  state_->compile();
  // A graph keeps the addresses of the time of its capture.
  fake_submit(stream, [state = state_, addresses = state_->addresses] {
    const auto copy = [&](TensorIOMode mode, bool to_graph) {
      for (const Tensor& tensor : state->engine->graph->tensors) {
        if (tensor.mode != mode) continue;
        const ov::Tensor inside = state->request.get_tensor(tensor.name);
        void* address = addresses.at(tensor.name);
        // Copy instead of binding the addresses, so that a sanitizer sees every byte.
        if (to_graph) {
          std::memcpy(const_cast<void*>(inside.data()), address, inside.get_byte_size());
        } else {
          std::memcpy(address, inside.data(), inside.get_byte_size());
        }
      }
    };
    copy(TensorIOMode::kINPUT, true);
    state->request.infer();
    copy(TensorIOMode::kOUTPUT, false);
  });
  return true;
}

ICudaEngine* IRuntime::deserializeCudaEngine(const void* plan, std::size_t size_bytes) {
  const std::string path(static_cast<const char*>(plan), size_bytes);
  return path.empty() || path[0] != '/' ? nullptr : new ICudaEngine(path);
}

IRuntime* createInferRuntime(ILogger&) { return new IRuntime(); }

}  // namespace nvinfer1

std::int32_t getInferLibMajorVersion() { return 10; }
std::int32_t getInferLibMinorVersion() { return 0; }
std::int32_t getInferLibPatchVersion() { return 0; }
std::int32_t getInferLibBuildVersion() { return 1; }
