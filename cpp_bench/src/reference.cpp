#include "reference.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "error.h"
#include "files.h"
#include "json_field.h"
#include "safetensors.h"

namespace cyto {
namespace {

std::string fix_of(const Bundle& bundle, const ReferenceKey& key) {
  const std::string settings = bundle.preset.empty() ? " --steps " + std::to_string(key.num_inference_steps) +
                                                           " --guidance-scale " + shown(key.guidance_scale)
                                                     : " --preset " + bundle.preset;
  return "let the engine write the reference: engine reference " + bundle.folder.string() + " --class " +
         key.class_name + " --backend " + key.backend + settings +
         (key.batch == 1 ? "" : " --batch-size " + std::to_string(key.batch));
}

double relative_l2(const float* found, const std::vector<float>& wanted) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - wanted[i], 2);
    norm += std::pow(static_cast<double>(wanted[i]), 2);
  }
  return std::sqrt(difference / norm);
}

double byte_deviation(const std::uint8_t* image, const Reference& reference) {
  std::vector<int> differences(reference.image.size());
  for (std::size_t i = 0; i < differences.size(); ++i) differences[i] = std::abs(image[i] - reference.image[i]);
  const std::size_t left_out = reference.blocks ? differences.size() / 100 : 0;
  const auto found = differences.end() - 1 - static_cast<std::ptrdiff_t>(left_out);
  std::nth_element(differences.begin(), found, differences.end());
  return *found;
}

}  // namespace

std::filesystem::path default_reference(const Bundle& bundle, const ReferenceKey& key) {
  const std::filesystem::path folder = cache_folder("references");
  if (folder.empty()) return {};
  const std::string settings = bundle.preset.empty() ? key.schedule + "-" + std::to_string(key.num_inference_steps) +
                                                           "-" + shown(key.guidance_scale)
                                                     : "preset-" + bundle.preset;
  return folder /
         (bundle.sha256.substr(0, 16) + "-" + key.class_name + "-" + key.backend + "-" + settings + ".safetensors");
}

Reference read_reference(const std::filesystem::path& path, const Bundle& bundle, const ReferenceKey& key) {
  const std::string fix = fix_of(bundle, key);
  const std::string subject = "The reference " + path.string();
  if (path.empty()) {
    throw RequestError("The reference", "neither HOME nor XDG_CACHE_HOME is set", "a cache folder",
                       "name the file with --reference");
  }
  std::error_code unknown;
  if (!std::filesystem::exists(path, unknown)) {
    throw RequestError(subject, "no such file", "the result of the engine, without which nothing is timed", fix);
  }
  const Safetensors file = read_safetensors(path, fix);
  const auto text = [&](const std::string& name) {
    const auto value = file.metadata().find(name);
    return value == file.metadata().end() ? std::string("nothing") : value->second;
  };
  const auto expect = [&](const std::string& name, const std::string& wanted) {
    if (text(name) != wanted) throw RequestError(subject + ", field " + name, text(name), wanted, fix);
  };
  expect("format_version", "2");
  expect("bundle_sha256", bundle.sha256);
  expect("class", key.class_name);
  expect("preset", bundle.preset.empty() ? "nothing" : bundle.preset);
  expect("num_inference_steps", std::to_string(key.num_inference_steps));
  expect("seed", "0");
  expect("backend", key.backend);
  if (key.backend == "openvino") expect("precision", "f32");
  const std::string scale = text("guidance_scale");
  if (std::strtod(scale.c_str(), nullptr) != key.guidance_scale) {
    throw RequestError(subject + ", field guidance_scale", scale, shown(key.guidance_scale), fix);
  }
  const std::string batch = text("batch_size");
  const bool is_number = batch.size() <= 4 && batch.find_first_not_of("0123456789") == std::string::npos;
  const std::size_t batch_size = is_number ? std::stoul(batch) : 0;
  if (batch_size == 0) throw RequestError(subject + ", field batch_size", batch, "a number above 0", fix);
  const Manifest& manifest = bundle.manifest;
  const LatentShape& shape = manifest.latents;
  const DecoderNoise& grain = manifest.decoder_noise;
  const std::vector<std::size_t> latents = {shape.channels, shape.height, shape.width};
  Reference reference{
      file.floats("noise", latents),
      file.floats("latents", latents),
      grain.planes == 0
          ? std::vector<float>{}
          : file.floats("decoder_noise", {grain.planes, grain.scale * shape.height, grain.scale * shape.width}),
      file.bytes("image", {shape.height * manifest.pixels_per_latent, shape.width * manifest.pixels_per_latent, 3}),
      batch_size,
      text("runtime"),
      file.sha256(),
      text("sampler"),
      text("schedule"),
      parse_plan(text("plan"), subject + ", field plan", fix),
      manifest.decoder_jpeg};
  const auto finite = [](const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
  };
  if (!finite(reference.noise) || !finite(reference.latents) || !finite(reference.grain)) {
    throw RequestError(subject, "values that are not finite", "finite noise and latents", fix);
  }
  return reference;
}

double deviation(Mode mode, const Output& output, const Reference& reference) {
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!output.finite || !std::all_of(output.values.begin(), output.values.end(), finite)) {
    return std::numeric_limits<double>::infinity();
  }
  double worst = 0;
  if (mode == Mode::trajectory) {
    for (std::size_t start = 0; start < output.values.size(); start += reference.latents.size()) {
      worst = std::max(worst, relative_l2(output.values.data() + start, reference.latents));
    }
  } else if (mode == Mode::decode) {
    for (std::size_t start = 0; start < output.images.size(); start += reference.image.size()) {
      worst = std::max(worst, byte_deviation(output.images.data() + start, reference));
    }
  }
  return worst;
}

double tolerance(Mode mode) { return mode == Mode::decode ? 1 : 1e-3; }

}  // namespace cyto
