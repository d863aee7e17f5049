// The reference, which the Python engine computed for seed 0, and the comparison with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "backend.h"
#include "bundle.h"
#include "task.h"

namespace cyto {

/// The settings that a reference must have. `batch` is the batch size that the fix of an error requests.
struct ReferenceKey {
  std::string class_name, backend, schedule;
  std::size_t num_inference_steps;
  double guidance_scale;
  std::size_t batch;
};

struct Reference {
  /// Standard normal noise, and the result of the trajectory, (C, h, w).
  std::vector<float> noise, latents;
  /// The noise with which the latents were decoded, (planes, H, W). Empty for a decoder that takes latents alone.
  std::vector<float> grain;
  /// The decoded latents, (H, W, 3).
  std::vector<std::uint8_t> image;
  /// The batch size with which the reference was computed.
  std::size_t batch;
  std::string runtime, sha256;
  std::string sampler, schedule;
  SamplerPlan plan;
  /// Whether the decoder draws the blocks of JPEG.
  bool blocks = false;
};

/// Return the path in the user's cache at which the engine writes the reference. Empty without a home folder.
std::filesystem::path default_reference(const Bundle& bundle, const ReferenceKey& key);

/// Return the reference. Throws RequestError unless the file has exactly these settings.
Reference read_reference(const std::filesystem::path& path, const Bundle& bundle, const ReferenceKey& key);

/// Return the deviation of an output from the reference for the worst picture of the batch. For latents it is the L2
/// norm of the difference divided by the norm of the reference, for pictures the largest difference of a byte, or with
/// blocks of JPEG the largest one of 99 % of the bytes: last digits decide how a coefficient is rounded, and that
/// changes its whole block. It is 0 if there is nothing to compare, and infinity for values that are not finite.
double deviation(Mode mode, const Output& output, const Reference& reference);

/// Return the largest deviation at which two computations in the same arithmetic count as equal.
double tolerance(Mode mode);

}  // namespace cyto
