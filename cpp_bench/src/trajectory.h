// The loop that applies the table of a sampler to a UNet in host memory.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "task.h"

namespace cyto {

/// The tensors of an opened UNet, and its evaluation.
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

  /// Compute latents (B, C, h, w) from the noise of the task, in float32 as in the engine.
  const std::vector<float>& run();

  /// Return the latents of the last run.
  const std::vector<float>& latents() const { return x_; }

 private:
  void evaluate(std::size_t step, const std::vector<float>& point);
  /// Write the sum of coefficient times vector, in the order of the terms. Terms of coefficient 0 are left out.
  void combine(const Terms& terms, std::vector<float>& result) const;

  const Task& task_;
  UnetPorts unet_;
  /// Time features (rows, F) of each step.
  std::vector<std::vector<float>> features_;
  std::vector<float> first_, x_, denoised_;
  /// The point of evaluation, if it is not x.
  std::vector<float> point_;
  /// Memory for what follows: the next x, the next point, and what is kept.
  std::vector<float> next_, next_point_, kept_;
  /// H1, H2 and H3.
  std::array<std::vector<float>, 3> past_;
};

}  // namespace cyto
