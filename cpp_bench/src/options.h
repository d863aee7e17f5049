// The command line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "task.h"

namespace cyto {

/// The options, checked as far as possible without the bundle. Absent values come from the manifest.
struct Options {
  std::filesystem::path bundle;
  std::string class_name;
  Mode mode = Mode::trajectory;
  std::vector<std::size_t> batches;
  /// File for the record. Empty prints the table only.
  std::filesystem::path json;
  std::string backend;
  Precision precision = Precision::automatic;
  /// 0 uses every core that is available to this process.
  std::size_t threads = 0;
  std::size_t streams = 1;
  /// Preset of the bundle. Empty takes the defaults.
  std::string preset;
  std::optional<std::size_t> steps;
  std::optional<double> guidance_scale;
  std::size_t warmup = 2;
  /// Seconds per setting. `iterations`, counted per stream, replaces `duration_s`.
  double duration_s = 5;
  std::optional<std::size_t> iterations;
  /// Whether to time TensorRT with a CUDA graph, without, or both.
  std::vector<bool> cuda_graphs;
  /// File of the reference. Empty looks in the user's cache.
  std::filesystem::path reference;
  bool help = false, version = false;
};

/// Return the parsed options. `backends` are built in. Throws RequestError.
Options parse_options(const std::vector<std::string>& arguments, const std::vector<std::string>& backends);

std::string help_text(const std::vector<std::string>& backends);

std::string name_of(Mode mode);
std::string name_of(Precision precision);

}  // namespace cyto
