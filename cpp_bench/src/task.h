// What is timed: one class's graphs, the sampler's table, and the inputs of every picture.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "manifest.h"
#include "samplers.h"

namespace cyto {

enum class Mode {
  unet,        ///< one evaluation, guided as the trajectory's steps are
  decode,      ///< latents to pictures
  trajectory,  ///< the whole loop, noise to latents
};

/// Of what is timed on OpenVINO.
enum class Precision {
  automatic,  ///< bf16 where the processor has it
  f32,
  int8,  ///< the bundle's 8-bit graphs, and what they leave to the runtime as `automatic`
};

/// Every picture of a batch has the same inputs, so that every picture's output can be compared with the reference.
struct Task {
  std::filesystem::path unet, decoder, step;
  LatentShape latent_shape;
  std::size_t pixels_per_latent;
  SamplerPlan plan;
  double guidance_scale;
  std::vector<double> frequencies;
  std::size_t context_tokens, context_width;
  /// (2, tokens, width): the prompt's embeddings, the negative prompt's.
  std::vector<float> context;
  /// (C, h, w), standard normal.
  std::vector<float> noise;
  /// (C, h, w): what the decoder is given.
  std::vector<float> latents;

  /// A scale of 1 needs no unconditional half.
  bool guided() const { return guidance_scale != 1; }
  /// UNet rows of a batch of pictures, the conditional half first.
  std::size_t unet_rows(std::size_t batch) const { return guided() ? 2 * batch : batch; }
  std::size_t picture_height() const { return latent_shape.height * pixels_per_latent; }
  std::size_t picture_width() const { return latent_shape.width * pixels_per_latent; }
  std::size_t image_size() const { return picture_height() * picture_width() * 3; }
};

/// `count` copies one after the other, each value times `scale`.
std::vector<float> repeated(const std::vector<float>& values, std::size_t count, float scale = 1);

/// What a batch's UNet rows are given at the first step: (rows, C, h, w).
std::vector<float> first_rows(const Task& task, std::size_t batch);

/// The context of a batch's UNet rows: (rows, tokens, width).
std::vector<float> context_rows(const Task& task, std::size_t batch);

/// The time features of a batch's UNet rows at a timestep: (rows, F).
std::vector<float> feature_rows(const Task& task, double timestep, std::size_t batch);

}  // namespace cyto
