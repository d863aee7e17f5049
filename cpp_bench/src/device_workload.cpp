#include "device_workload.h"

#include <algorithm>
#include <utility>

#include "error.h"

namespace cyto {
namespace {

/// TensorRT requires tensor addresses that are multiples of this number of bytes.
constexpr std::size_t kAlignmentBytes = 256;

Dimensions latents_of(const Task& task, std::size_t rows) {
  return {rows, task.latent_shape.channels, task.latent_shape.height, task.latent_shape.width};
}

std::unique_ptr<TensorRTContext> open_unet(const Task& task, std::size_t batch, TensorRTEngines& engines) {
  const std::size_t rows = task.unet_rows(batch);
  const Tensors inputs = {{"latents", latents_of(task, rows)},
                          {"time_features", {rows, 2 * task.frequencies.size()}},
                          {"encoder_hidden_states", {rows, task.context_tokens, task.context_width}}};
  return engines.open(task.unet.filename().string(), inputs, {"eps"});
}

Tensors decoder_inputs(const Task& task, std::size_t batch) {
  Tensors inputs = {{"latents", latents_of(task, batch)}};
  if (const DecoderNoise& noise = task.decoder_noise; noise.planes != 0) {
    const LatentShape& shape = task.latent_shape;
    inputs["noise"] = {batch, noise.planes, noise.scale * shape.height, noise.scale * shape.width};
  }
  return inputs;
}

std::size_t float_bytes(std::size_t count) { return count * sizeof(float); }

/// Return the offset of the second half of a pair of latents. Throws RequestError if TensorRT cannot address it.
std::size_t half_bytes(const Task& task, std::size_t batch) {
  const std::size_t offset = float_bytes(batch * task.latent_shape.size());
  if (task.guided() && offset % kAlignmentBytes != 0) {
    throw RequestError("The second half of the latents on this device",
                       "an offset of " + std::to_string(offset) + " bytes",
                       "a multiple of " + std::to_string(kAlignmentBytes), "use another --batch");
  }
  return offset;
}

/// One evaluation of the UNet.
class UnetWorkload : public DeviceWorkload {
 public:
  UnetWorkload(const Task& task, const Setting& setting, TensorRTEngines& engines)
      : unet_(open_unet(task, setting.batch, engines)),
        latents_(input(first_rows(task, setting.batch))),
        features_(input(feature_rows(task, task.plan.rows.front().timestep, setting.batch))),
        context_(constant(context_rows(task, setting.batch))),
        count_(task.unet_rows(setting.batch) * task.latent_shape.size()),
        eps_(allocate(float_bytes(count_))),
        found_(static_cast<const float*>(read_back(eps_, float_bytes(count_)))) {
    prepare(setting.cuda_graph);
  }

  Output output() override { return {{found_, found_ + count_}, {}}; }

 private:
  void start() override {
    unet_->enqueue(
        {{"latents", latents_}, {"time_features", features_}, {"encoder_hidden_states", context_}, {"eps", eps_}},
        stream_);
  }

  std::unique_ptr<TensorRTContext> unet_;
  char *latents_, *features_, *context_;
  std::size_t count_;
  char* eps_;
  const float* found_;
};

/// Decoding of latents to pictures.
class DecodeWorkload : public DeviceWorkload {
 public:
  DecodeWorkload(const Task& task, const Setting& setting, TensorRTEngines& engines)
      : decoder_(
            engines.open(task.decoder.filename().string(), decoder_inputs(task, setting.batch), {"images", "finite"})),
        batch_(setting.batch),
        image_bytes_(setting.batch * task.image_size()),
        latents_(input(repeated(task.latents, setting.batch))),
        noise_(task.decoder_noise.planes == 0 ? nullptr : input(repeated(task.grain, setting.batch))),
        images_(allocate(image_bytes_)),
        finite_(allocate(batch_)),
        found_images_(static_cast<const std::uint8_t*>(read_back(images_, image_bytes_))),
        found_finite_(static_cast<const std::uint8_t*>(read_back(finite_, batch_))) {
    prepare(setting.cuda_graph);
  }

  Output output() override {
    return {{},
            {found_images_, found_images_ + image_bytes_},
            std::all_of(found_finite_, found_finite_ + batch_, [](std::uint8_t flag) { return flag != 0; })};
  }

 private:
  void start() override {
    std::vector<std::pair<const char*, char*>> tensors = {
        {"latents", latents_}, {"images", images_}, {"finite", finite_}};
    if (noise_ != nullptr) tensors.emplace_back("noise", noise_);
    decoder_->enqueue(tensors, stream_);
  }

  std::unique_ptr<TensorRTContext> decoder_;
  std::size_t batch_, image_bytes_;
  char *latents_, *noise_, *images_, *finite_;
  const std::uint8_t *found_images_, *found_finite_;
};

/// Throw RequestError unless every row of the table is one call of the step graph.
void expect_simple(const SamplerPlan& plan) {
  if (plan.simple()) return;
  throw RequestError("The sampler of the reference on this device", "rows that take several calls of the step graph",
                     "a sampler of one evaluation per step that remembers one step, such as dpmpp_2m",
                     "write the reference with another --sampler, or use --backend openvino");
}

/// The whole loop: UNet and step graph pass latents by address, with the table of scaled_rows. With guidance both
/// latents buffers hold the batch twice, so that the UNet reads its input in place. The step graph runs once per half.
class TrajectoryWorkload : public DeviceWorkload {
 public:
  TrajectoryWorkload(const Task& task, const Setting& setting, TensorRTEngines& engines)
      : guided_(task.guided()),
        steps_(task.plan.rows.size()),
        half_bytes_(half_bytes(task, setting.batch)),
        unet_(open_unet(task, setting.batch, engines)),
        step_(open_step(task, setting.batch, engines)),
        x_{input(first_rows(task, setting.batch)), allocate(half_bytes_ * (guided_ ? 2 : 1))},
        denoised_{allocate(half_bytes_), allocate(half_bytes_)},
        eps_(allocate(half_bytes_ * (guided_ ? 2 : 1))),
        z_(allocate(half_bytes_)),
        context_(constant(context_rows(task, setting.batch))),
        found_(static_cast<const float*>(read_back(x_[steps_ % 2], half_bytes_))) {
    expect_simple(task.plan);
    std::vector<std::vector<float>> features, rows;
    for (const StepRow& row : task.plan.rows) features.push_back(feature_rows(task, row.timestep, setting.batch));
    for (const StepRow& row : scaled_rows(task.plan)) {
      const double values[] = {row.sigma, row.timestep, row.c_in, row.x[0],
                               row.x[1],  row.x[2],     0.0,      task.guidance_scale};
      rows.emplace_back(std::begin(values), std::end(values));
    }
    features_ = table(features);
    rows_ = table(rows);
    prepare(setting.cuda_graph);
  }

  Output output() override { return {{found_, found_ + half_bytes_ / sizeof(float)}, {}}; }

 private:
  /// One array per step, each at an aligned address.
  struct Table {
    char* first = nullptr;
    std::size_t stride_bytes = 0;
    char* at(std::size_t step) const { return first + step * stride_bytes; }
  };

  static std::unique_ptr<TensorRTContext> open_step(const Task& task, std::size_t batch, TensorRTEngines& engines) {
    Tensors inputs = {{"row", {8}}};
    for (const char* name : {"x", "eps_cond", "eps_uncond", "D_prev", "z"}) inputs[name] = latents_of(task, batch);
    return engines.open(task.step.filename().string(), inputs, {"x_next", "D"});
  }

  Table table(const std::vector<std::vector<float>>& arrays) {
    constexpr std::size_t aligned = kAlignmentBytes / sizeof(float);
    const std::size_t width = (arrays.front().size() + aligned - 1) / aligned * aligned;
    std::vector<float> all(width * arrays.size());
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      std::copy(arrays[i].begin(), arrays[i].end(), all.begin() + static_cast<std::ptrdiff_t>(i * width));
    }
    return {constant(all), float_bytes(width)};
  }

  void start() override {
    for (std::size_t i = 0; i < steps_; ++i) {
      char* now = x_[i % 2];
      char* then = x_[(i + 1) % 2];
      unet_->enqueue(
          {{"latents", now}, {"time_features", features_.at(i)}, {"encoder_hidden_states", context_}, {"eps", eps_}},
          stream_);
      const std::size_t halves = guided_ && i + 1 < steps_ ? 2 : 1;
      for (std::size_t half = 0; half < halves; ++half) {
        step_->enqueue({{"x", now},
                        {"eps_cond", eps_},
                        {"eps_uncond", eps_ + (guided_ ? half_bytes_ : 0)},
                        {"D_prev", denoised_[(i + 1) % 2]},
                        {"z", z_},
                        {"row", rows_.at(i)},
                        {"x_next", then + half * half_bytes_},
                        {"D", denoised_[i % 2]}},
                       stream_);
      }
    }
  }

  bool guided_;
  std::size_t steps_, half_bytes_;
  std::unique_ptr<TensorRTContext> unet_, step_;
  std::array<char*, 2> x_, denoised_;
  char *eps_, *z_, *context_;
  const float* found_;
  Table features_, rows_;
};

}  // namespace

char* DeviceWorkload::allocate(std::size_t size_bytes) {
  return device_.emplace_back(std::make_unique<DeviceMemory>(size_bytes, stream_))->get();
}

char* DeviceWorkload::constant(const std::vector<float>& values) {
  char* device = allocate(float_bytes(values.size()));
  start_copy(device, values.data(), float_bytes(values.size()), stream_);
  stream_.synchronize();
  return device;
}

char* DeviceWorkload::input(const std::vector<float>& values) {
  const std::size_t size_bytes = float_bytes(values.size());
  auto* host = static_cast<float*>(host_.emplace_back(std::make_unique<PinnedMemory>(size_bytes))->get());
  std::copy(values.begin(), values.end(), host);
  char* device = allocate(size_bytes);
  uploads_.push_back({device, host, size_bytes});
  return device;
}

const void* DeviceWorkload::read_back(const char* device, std::size_t size_bytes) {
  void* host = host_.emplace_back(std::make_unique<PinnedMemory>(size_bytes))->get();
  downloads_.push_back({host, device, size_bytes});
  return host;
}

void DeviceWorkload::prepare(bool cuda_graph) {
  run();
  if (cuda_graph) graph_ = std::make_unique<CudaGraph>(stream_, [this] { start(); });
}

Sample DeviceWorkload::run() {
  const Clock::time_point began = Clock::now();
  events_[0].record(stream_);
  for (const Copy& copy : uploads_) start_copy(copy.target, copy.source, copy.size_bytes, stream_);
  events_[1].record(stream_);
  const Clock::time_point starting = Clock::now();
  if (graph_) {
    graph_->launch(stream_);
  } else {
    start();
  }
  const Clock::time_point started = Clock::now();
  events_[2].record(stream_);
  for (const Copy& copy : downloads_) start_copy(copy.target, copy.source, copy.size_bytes, stream_);
  events_[3].record(stream_);
  stream_.synchronize();
  return {milliseconds(Clock::now() - began),
          {{"enqueue", milliseconds(started - starting)},
           {"h2d", events_[1].milliseconds_since(events_[0])},
           {"compute", events_[2].milliseconds_since(events_[1])},
           {"d2h", events_[3].milliseconds_since(events_[2])}}};
}

std::unique_ptr<Workload> make_device_workload(const Task& task, const Setting& setting, TensorRTEngines& engines) {
  switch (setting.mode) {
    case Mode::unet:
      return std::make_unique<UnetWorkload>(task, setting, engines);
    case Mode::decode:
      return std::make_unique<DecodeWorkload>(task, setting, engines);
    case Mode::trajectory:
      break;
  }
  return std::make_unique<TrajectoryWorkload>(task, setting, engines);
}

}  // namespace cyto
