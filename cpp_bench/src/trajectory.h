// The loop that applies a sampler's table to a UNet in the host's memory.
#pragma once

#include <functional>
#include <vector>

#include "task.h"

namespace cyto {

/// An opened UNet's tensors, and its evaluation.
struct UnetPorts {
  float* latents;        ///< (rows, C, h, w)
  float* time_features;  ///< (rows, F)
  const float* eps;      ///< (rows, C, h, w)
  std::function<void()> infer;
};

class HostTrajectory {
 public:
  /// `task` must outlive the trajectory.
  HostTrajectory(const Task& task, std::size_t batch, UnetPorts unet);

  /// The task's noise to latents (B, C, h, w), in float32 as the engine computes.
  const std::vector<float>& run();

  /// What the last run left.
  const std::vector<float>& latents() const { return x_; }

 private:
  void evaluate(std::size_t step);

  const Task& task_;
  UnetPorts unet_;
  /// A step's time features, (rows, F) each.
  std::vector<std::vector<float>> features_;
  std::vector<float> first_, x_, previous_;
};

}  // namespace cyto
