// The part of the bundle's manifest that this program needs, checked field by field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cyto {

/// Size and hash that a file of the bundle must have.
struct FileEntry {
  std::string sha256;
  std::uint64_t size_bytes;
};

/// The files of a UNet.
struct UnetFiles {
  std::string unet;
  /// The 8-bit graph on the same weight files. Empty if the bundle has none.
  std::string unet_int8;
  std::vector<std::string> weights;
};

/// The files of a class.
struct ClassEntry : UnetFiles {
  std::string context;
};

/// A preset with a learned table whose rows have one guidance scale. Its rows come from the reference.
struct PresetEntry {
  std::size_t num_inference_steps;
  double guidance_scale;
  /// The UNet of each class. Empty if the preset takes those of the classes.
  std::map<std::string, UnetFiles> unets;
  /// The graph of the small decoder, then its weight files. Empty if the preset takes the decoder of the bundle.
  std::vector<std::string> decoder;
  /// The 8-bit graph of the small decoder. Empty if the bundle has none.
  std::string decoder_int8;
};

/// Shape (C, h, w) of the latents of one picture.
struct LatentShape {
  std::size_t channels, height, width;
  std::size_t size() const { return channels * height * width; }
};

/// The second input of a decoder that draws grain: noise (planes, scale * h, scale * w) of each picture. A decoder that
/// takes latents alone has no planes.
struct DecoderNoise {
  std::size_t planes = 0, scale = 0;
};

struct Manifest {
  std::string name;
  LatentShape latents;
  std::size_t pixels_per_latent;
  /// Shape (tokens, width) of the embeddings of a prompt.
  std::size_t context_tokens, context_width;
  /// Frequencies (F / 2,) for time_features.
  std::vector<double> frequencies;
  /// The schedule of references in the user's cache: the bundle's if its sampler is DPM++ 2M, otherwise karras.
  std::string schedule;
  std::size_t num_inference_steps;
  double guidance_scale;
  /// The graph of the decoder, then its weight files.
  std::vector<std::string> decoder;
  /// The 8-bit graph of the decoder. Empty if the bundle has none.
  std::string decoder_int8;
  DecoderNoise decoder_noise;
  /// Whether the decoder draws the blocks of JPEG.
  bool decoder_jpeg;
  std::string step;
  std::map<std::string, ClassEntry> classes;
  /// The presets that this program can run.
  std::map<std::string, PresetEntry> presets;
  std::map<std::string, FileEntry> files;
};

/// Return the checked manifest. Throws RequestError that names the wrong field.
Manifest parse_manifest(const std::string& text, const std::filesystem::path& path);

}  // namespace cyto
