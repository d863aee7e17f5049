// The sampler as a table. With D = x - sigma * eps(x * c_in, t): x_next = a * x + b * D + c * D_prev,
// with one row per step.
#pragma once

#include <string>
#include <vector>

#include "schedules.h"

namespace cyto {

/// One step: the noise level, the inputs of the UNet (timestep, input scale), and the coefficients of the update.
struct StepRow {
  double sigma, timestep, c_in, a, b, c;
};

/// The table: its rows in order, and the standard deviation of the first latents.
struct SamplerPlan {
  double initial_scale;
  std::vector<StepRow> rows;
};

/// Return the table of DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2, on the named schedule, which
/// ends at sigma 0.
SamplerPlan plan_dpmpp_2m(const NoiseSchedule& noise, const std::string& schedule, std::size_t num_inference_steps);

/// Return the table for u = c_in x, the input of the UNet, so that a device needs no scaling between steps. With
/// D' = c_in D and sigma' = c_in sigma: D' = u - sigma' eps and u_next = a' u + b' D' + c' D'_prev, where
/// a' = a k / c_in, b' = b k / c_in, c' = c k / (c_in of the previous row), and k is the next row's c_in, or 1 in the
/// last row.
std::vector<StepRow> scaled_rows(const SamplerPlan& plan);

}  // namespace cyto
