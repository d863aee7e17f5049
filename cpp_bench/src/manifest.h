// The bundle's manifest: what of it this program needs, checked field by field, never trusted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "schedules.h"

namespace cyto {

/// What a file of the bundle must be.
struct FileEntry {
  std::string sha256;
  std::uint64_t size_bytes;
};

/// A class's files.
struct ClassEntry {
  std::string unet;
  /// The same in 8 bits, of the same weight files; empty where the bundle has none.
  std::string unet_int8;
  std::vector<std::string> weights;
  std::string context;
};

/// Of one picture, or of the UNet's and decoder's input without the batch: (C, h, w).
struct LatentShape {
  std::size_t channels, height, width;
  std::size_t size() const { return channels * height * width; }
};

struct Manifest {
  std::string name;
  LatentShape latents;
  std::size_t pixels_per_latent;
  /// Embeddings of a prompt: (tokens, width).
  std::size_t context_tokens, context_width;
  /// (F / 2,), for time_features.
  std::vector<double> frequencies;
  NoiseSchedule noise;
  /// The schedule that DPM++ 2M takes: the bundle's own where that is its sampler, Karras's otherwise.
  std::string schedule;
  std::size_t num_inference_steps;
  double guidance_scale;
  /// The decoder's graph, then its weight files.
  std::vector<std::string> decoder;
  /// The decoder's graph in 8 bits, empty where the bundle has none.
  std::string decoder_int8;
  std::string step;
  std::map<std::string, ClassEntry> classes;
  std::map<std::string, FileEntry> files;
};

/// Check the text of a manifest.json. Throws RequestError that names the field.
Manifest parse_manifest(const std::string& text, const std::filesystem::path& path);

}  // namespace cyto
