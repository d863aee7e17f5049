// The sampler as a table. With D = x - sigma * eps(x * c_in, t): x_next = a * x + b * D + c * D_prev, one row a step.
#pragma once

#include <string>
#include <vector>

#include "schedules.h"

namespace cyto {

/// One step: the noise level, what the UNet is given (timestep, input scale), and the update's coefficients.
struct StepRow {
  double sigma, timestep, c_in, a, b, c;
};

/// The rows in order, and the standard deviation of the first latents.
struct SamplerPlan {
  double initial_scale;
  std::vector<StepRow> rows;
};

/// DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2, on the named schedule, ending at sigma 0.
SamplerPlan plan_dpmpp_2m(const NoiseSchedule& noise, const std::string& schedule, std::size_t num_inference_steps);

/// The same table for u = c_in x, what the UNet is given, so that a device needs no scaling between steps. With
/// D' = c_in D and sigma' = c_in sigma: D' = u - sigma' eps and u_next = a' u + b' D' + c' D'_prev, where
/// a' = a k / c_in, b' = b k / c_in, c' = c k / c_in of the row before, k the next row's c_in, 1 at the end.
std::vector<StepRow> scaled_rows(const SamplerPlan& plan);

}  // namespace cyto
