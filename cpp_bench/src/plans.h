// TensorRT plans of a bundle: `plans/<folder>/plan.json` and one plan per graph.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "bundle.h"

namespace cyto {

/// The plan of one graph.
struct Plan {
  std::string file, sha256;
  std::uint64_t size_bytes;
  /// graph_digest of the graph and weights that the plan was built from.
  std::string graph_sha256;
};

/// A folder of plans, as its plan.json describes it.
struct PlanFolder {
  std::filesystem::path folder;
  std::string flavour, version, compute_capability;
  /// Pictures per batch. The plans take every size from the smallest to the largest, with or without guidance.
  std::vector<std::size_t> batch_sizes;
  std::size_t width, height;
  /// The plans, by the name of the ONNX graph.
  std::map<std::string, Plan> plans;

  /// Return the checked bytes of the plan of a graph. Throws RequestError.
  std::string open(const std::string& graph) const;
};

/// The runtime and GPU that run the plans, and the class and batches that they must be built for.
struct PlanRequest {
  std::string flavour, version, compute_capability, class_name;
  std::vector<std::size_t> batches;
};

/// Return the plans that fit. Throws RequestError that names the differences, and the command that builds the plans.
PlanFolder choose_plans(const Bundle& bundle, const PlanRequest& request);

/// Return the plan folder that a plan.json describes. Throws RequestError.
PlanFolder read_plan_folder(const std::filesystem::path& path);

/// Return the SHA-256 of the hashes that the manifest states for a graph and its weights, in this order.
std::string graph_digest(const Bundle& bundle, const std::vector<std::string>& files);

}  // namespace cyto
