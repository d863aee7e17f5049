// The command line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "task.h"

namespace cyto {

/// Checked as far as it can be without the bundle. What is absent comes from the manifest.
struct Options {
  std::filesystem::path bundle;
  std::string class_name;
  Mode mode = Mode::trajectory;
  std::vector<std::size_t> batches;
  /// Empty is standard output's table alone.
  std::filesystem::path json;
  std::string backend;
  Precision precision = Precision::automatic;
  /// 0 is every core that this process may use.
  std::size_t threads = 0;
  std::size_t streams = 1;
  std::optional<std::size_t> steps;
  std::optional<double> guidance_scale;
  std::size_t warmup = 2;
  /// Of each setting; `iterations` counts those of each stream and takes the place of `duration_s`.
  double duration_s = 5;
  std::optional<std::size_t> iterations;
  /// The settings of TensorRT's CUDA graph that are timed.
  std::vector<bool> cuda_graphs;
  /// Empty is the user's cache.
  std::filesystem::path reference;
  bool help = false, version = false;
};

/// Throws RequestError. `backends` are those that were built in.
Options parse_options(const std::vector<std::string>& arguments, const std::vector<std::string>& backends);

std::string help_text(const std::vector<std::string>& backends);

std::string name_of(Mode mode);
std::string name_of(Precision precision);

}  // namespace cyto
