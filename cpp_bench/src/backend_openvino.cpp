#include "backend_openvino.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <openvino/openvino.hpp>
#include <sstream>
#include <utility>

#include "error.h"
#include "group_norm.h"
#include "host.h"
#include "json_field.h"
#include "trajectory.h"

namespace cyto {
namespace {

/// The only core of this process. It is never destroyed, because the CPU plugin would unmap a signal stack.
ov::Core& the_core() {
  static auto* core = new ov::Core();
  return *core;
}

using Shapes = std::map<std::string, ov::PartialShape>;
using Types = std::map<std::string, ov::element::Type>;

std::string shown(const Types& types) {
  std::vector<std::string> words;
  for (const auto& [name, type] : types) words.push_back(name + " " + type.to_string());
  return joined(words);
}

template <typename Ports>
void check_signature(const std::string& subject, const Ports& ports, const Types& expected) {
  Types found;
  for (const auto& port : ports) found[port.get_any_name()] = port.get_element_type();
  if (found != expected) {
    throw RunError(subject, shown(found), shown(expected), "export the bundle again with the exporter of this version");
  }
}

[[noreturn]] void fail(const std::string& subject, const std::exception& error) {
  std::string line;
  std::istringstream words(error.what());
  std::getline(words, line);
  throw RunError(subject, line, "the graph to run",
                 "use a smaller --batch if memory is short, and check the bundle with `engine verify BUNDLE`");
}

/// An inference request of a compiled graph, and its clock.
class Request {
 public:
  explicit Request(ov::CompiledModel& model) : request_(model.create_infer_request()) {}

  template <typename T>
  T* data(const std::string& name) {
    return request_.get_tensor(name).data<T>();
  }

  template <typename T>
  std::vector<T> copy(const std::string& name) {
    const ov::Tensor tensor = request_.get_tensor(name);
    return {tensor.data<T>(), tensor.data<T>() + tensor.get_size()};
  }

  void write(const std::string& name, const std::vector<float>& values) {
    std::copy(values.begin(), values.end(), data<float>(name));
  }

  void infer() {
    const Clock::time_point began = Clock::now();
    try {
      request_.infer();
    } catch (const std::exception& error) {
      fail("OpenVINO", error);
    }
    inside_ += Clock::now() - began;
  }

  /// Time `work`. The part "graphs" is the time spent in the runtime.
  template <typename Work>
  Sample timed(Work work) {
    inside_ = {};
    const Clock::time_point began = Clock::now();
    work();
    return {milliseconds(Clock::now() - began), {{"graphs", milliseconds(inside_)}}};
  }

 private:
  ov::InferRequest request_;
  Clock::duration inside_{};
};

class UnetWorkload : public Workload {
 public:
  UnetWorkload(const Task& task, std::size_t batch, ov::CompiledModel& model) : request_(model) {
    request_.write("latents", first_rows(task, batch));
    request_.write("time_features", feature_rows(task, task.plan.rows.front().timestep, batch));
    request_.write("encoder_hidden_states", context_rows(task, batch));
  }

  Sample run() override {
    return request_.timed([this] { request_.infer(); });
  }

  Output output() override { return {request_.copy<float>("eps"), {}}; }

 private:
  Request request_;
};

class TrajectoryWorkload : public Workload {
 public:
  TrajectoryWorkload(const Task& task, std::size_t batch, ov::CompiledModel& model)
      : request_(model),
        trajectory_(task, batch,
                    {request_.data<float>("latents"), request_.data<float>("time_features"),
                     request_.data<float>("eps"), [this] { request_.infer(); }}) {
    request_.write("encoder_hidden_states", context_rows(task, batch));
  }

  Sample run() override {
    return request_.timed([this] { trajectory_.run(); });
  }

  Output output() override { return {trajectory_.latents(), {}}; }

 private:
  Request request_;
  HostTrajectory trajectory_;
};

class DecodeWorkload : public Workload {
 public:
  DecodeWorkload(const Task& task, std::size_t batch, ov::CompiledModel& model) : request_(model) {
    request_.write("latents", repeated(task.latents, batch));
    if (task.decoder_noise.planes != 0) request_.write("noise", repeated(task.grain, batch));
  }

  Sample run() override {
    return request_.timed([this] { request_.infer(); });
  }

  Output output() override {
    const std::vector<char> flags = request_.copy<char>("finite");
    const bool finite = std::find(flags.begin(), flags.end(), 0) == flags.end();
    return {{}, request_.copy<std::uint8_t>("images"), finite};
  }

 private:
  Request request_;
};

class OpenVINO : public Backend {
 public:
  OpenVINO(Precision precision, std::size_t threads) : threads_(threads) {
    config_[ov::hint::performance_mode.name()] = ov::hint::PerformanceMode::LATENCY;
    // The engine sets the same, because its processes share a machine.
    config_[ov::hint::enable_cpu_pinning.name()] = false;
    config_[ov::inference_num_threads.name()] = static_cast<std::int32_t>(threads);
    const bool exact = precision == Precision::f32;
    if (exact) config_[ov::hint::inference_precision.name()] = ov::element::f32;
    const auto able = the_core().get_property("CPU", ov::device::capabilities);
    const bool bf16 = std::find(able.begin(), able.end(), ov::device::capability::BF16) != able.end();
    computes_in_ = bf16 && !exact ? "bf16" : "f32";
    if (precision == Precision::int8) computes_in_ = "int8 and " + computes_in_;
  }

  std::string version() const override {
    const std::string build = ov::get_openvino_version().buildNumber;
    return "openvino " + build.substr(0, build.find('-')) + " " + computes_in_;
  }

  nlohmann::json device() const override { return nlohmann::json::object(); }

  bool has_cuda_graphs() const override { return false; }

  std::vector<std::unique_ptr<Workload>> open(const Task& task, const Setting& setting) override {
    const auto channels = static_cast<std::int64_t>(task.latent_shape.channels);
    const auto height = static_cast<std::int64_t>(task.latent_shape.height);
    const auto width = static_cast<std::int64_t>(task.latent_shape.width);
    const bool decodes = setting.mode == Mode::decode;
    const auto rows = static_cast<std::int64_t>(decodes ? setting.batch : task.unet_rows(setting.batch));
    Shapes inputs = {{"latents", {rows, channels, height, width}}};
    Types outputs = {{"eps", ov::element::f32}};
    if (decodes) {
      outputs = {{"images", ov::element::u8}, {"finite", ov::element::boolean}};
      if (const DecoderNoise& noise = task.decoder_noise; noise.planes != 0) {
        const auto scale = static_cast<std::int64_t>(noise.scale);
        inputs["noise"] = {rows, static_cast<std::int64_t>(noise.planes), scale * height, scale * width};
      }
    } else {
      inputs["time_features"] = {rows, static_cast<std::int64_t>(2 * task.frequencies.size())};
      inputs["encoder_hidden_states"] = {rows, static_cast<std::int64_t>(task.context_tokens),
                                         static_cast<std::int64_t>(task.context_width)};
    }
    ov::CompiledModel model = compile(decodes ? task.decoder : task.unet, inputs, outputs, setting.streams);
    std::vector<std::unique_ptr<Workload>> workloads;
    for (std::size_t i = 0; i < setting.streams; ++i) {
      switch (setting.mode) {
        case Mode::unet:
          workloads.push_back(std::make_unique<UnetWorkload>(task, setting.batch, model));
          break;
        case Mode::decode:
          workloads.push_back(std::make_unique<DecodeWorkload>(task, setting.batch, model));
          break;
        case Mode::trajectory:
          workloads.push_back(std::make_unique<TrajectoryWorkload>(task, setting.batch, model));
          break;
      }
    }
    return workloads;
  }

  std::vector<std::string> host_limits(const Measured& measured) const override {
    return processor_limits(measured, threads_, "graphs");
  }

 private:
  ov::CompiledModel compile(const std::filesystem::path& path, const Shapes& inputs, const Types& outputs,
                            std::size_t streams) {
    try {
      const std::shared_ptr<ov::Model> model = the_core().read_model(path.string());
      Types input_types;
      for (const auto& [name, _] : inputs) input_types[name] = ov::element::f32;
      check_signature("The inputs of the graph " + path.string(), model->inputs(), input_types);
      check_signature("The outputs of the graph " + path.string(), model->outputs(), outputs);
      model->reshape(inputs);
      keep_channels_last(model);
      ov::AnyMap config = config_;
      if (streams > 1) config[ov::num_streams.name()] = static_cast<std::int32_t>(streams);
      return the_core().compile_model(model, "CPU", config);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      fail(version() + " with the graph " + path.string(), error);
    }
  }

  std::size_t threads_;
  ov::AnyMap config_;
  std::string computes_in_;
};

}  // namespace

std::unique_ptr<Backend> open_openvino(Precision precision, std::size_t threads) {
  return std::make_unique<OpenVINO>(precision, threads);
}

}  // namespace cyto
