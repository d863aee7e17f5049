// What the Python engine computed for seed 0, and the comparison with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "backend.h"
#include "bundle.h"
#include "task.h"

namespace cyto {

/// The settings that a reference must be of; `batch` is what an error's fix asks for.
struct ReferenceKey {
  std::string class_name, backend, schedule;
  std::size_t num_inference_steps;
  double guidance_scale;
  std::size_t batch;
};

struct Reference {
  /// (C, h, w): standard normal noise, and the trajectory's result.
  std::vector<float> noise, latents;
  /// (H, W, 3): the decoded latents.
  std::vector<std::uint8_t> image;
  /// The batch that it was computed in.
  std::size_t batch;
  std::string runtime, sha256;
};

/// Where the engine puts it: in the user's cache, named by all that it depends on. Empty without a home.
std::filesystem::path default_reference(const Bundle& bundle, const ReferenceKey& key);

/// Throws RequestError unless the file is a reference of exactly these settings.
Reference read_reference(const std::filesystem::path& path, const Bundle& bundle, const ReferenceKey& key);

/// How far an output is from the reference, the worst picture of the batch: for latents the L2 norm of the difference
/// over that of the reference's; for pictures the largest difference of a byte. Nothing to compare gives 0, values
/// that are not finite infinity.
double deviation(Mode mode, const Output& output, const Reference& reference);

/// The largest deviation at which two computations in the same arithmetic count as equal.
double tolerance(Mode mode);

}  // namespace cyto
