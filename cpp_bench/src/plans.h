// TensorRT plans of a bundle: `plans/<folder>/plan.json` and one plan a graph, keyed by all that they depend on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bundle.h"

namespace cyto {

/// One graph's plan.
struct Plan {
  std::string file, sha256;
  std::uint64_t size_bytes;
  /// graph_digest of what it was built from.
  std::string graph_sha256;
};

/// What a plan.json says.
struct PlanFolder {
  std::filesystem::path folder;
  std::string flavour, version, compute_capability;
  /// Pictures; the plans take every size between the least and the largest, guided or not.
  std::vector<std::size_t> batch_sizes;
  std::size_t width, height;
  /// By the name of the ONNX graph.
  std::map<std::string, Plan> plans;

  /// The bytes of a graph's plan, checked. Throws RequestError.
  std::string open(const std::string& graph) const;
};

/// What runs the plans, and what they must be of.
struct PlanRequest {
  std::string flavour, version, compute_capability, class_name;
  std::vector<std::size_t> batches;
};

/// The plans that fit. Throws RequestError that says what differs, and the command that builds what is missing.
PlanFolder choose_plans(const Bundle& bundle, const PlanRequest& request);

/// Read one plan.json. Throws RequestError.
PlanFolder read_plan_folder(const std::filesystem::path& path);

/// SHA-256 of the manifest's hashes of a graph and its weights, in their order.
std::string graph_digest(const Bundle& bundle, const std::vector<std::string>& files);

}  // namespace cyto
