// The task to time: the graphs of one class, the table of the sampler, and the inputs of every picture.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "manifest.h"
#include "samplers.h"

namespace cyto {

enum class Mode {
  unet,        ///< one evaluation, with the guidance of the trajectory
  decode,      ///< latents to pictures
  trajectory,  ///< the whole loop, noise to latents
};

/// Precision of the timed work on OpenVINO.
enum class Precision {
  automatic,  ///< bf16 if the processor supports it
  f32,
  int8,  ///< the 8-bit graphs of the bundle; operations that they do not quantise run as `automatic`
};

/// The task. Every picture of a batch has the same inputs, so that every output can be compared with the reference.
struct Task {
  std::filesystem::path unet, decoder, step;
  LatentShape latent_shape;
  std::size_t pixels_per_latent;
  SamplerPlan plan;
  double guidance_scale;
  std::vector<double> frequencies;
  std::size_t context_tokens, context_width;
  /// Embeddings (2, tokens, width) of the prompt and of the negative prompt.
  std::vector<float> context;
  /// Standard normal noise (C, h, w).
  std::vector<float> noise;
  /// Latents (C, h, w) for the decoder.
  std::vector<float> latents;
  /// Size of the noise that the decoder takes beside the latents.
  DecoderNoise decoder_noise;
  /// Standard normal noise (planes, scale * h, scale * w) for the decoder. Empty without planes.
  std::vector<float> grain;

  /// Whether the unconditional half is needed, which it is not for a scale of 1.
  bool guided() const { return guidance_scale != 1; }
  /// Return the number of UNet rows for a batch of pictures. The conditional half comes first.
  std::size_t unet_rows(std::size_t batch) const { return guided() ? 2 * batch : batch; }
  std::size_t picture_height() const { return latent_shape.height * pixels_per_latent; }
  std::size_t picture_width() const { return latent_shape.width * pixels_per_latent; }
  std::size_t image_size() const { return picture_height() * picture_width() * 3; }
};

/// Return `count` copies one after the other, each value multiplied by `scale`.
std::vector<float> repeated(const std::vector<float>& values, std::size_t count, float scale = 1);

/// Return the input of the UNet at the first step: (rows, C, h, w).
std::vector<float> first_rows(const Task& task, std::size_t batch);

/// Return the embeddings for the rows of a batch: (rows, tokens, width).
std::vector<float> context_rows(const Task& task, std::size_t batch);

/// Return the time features for the rows of a batch at a timestep: (rows, F).
std::vector<float> feature_rows(const Task& task, double timestep, std::size_t batch);

}  // namespace cyto
