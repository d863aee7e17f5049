#include "samplers.h"

#include <cmath>

namespace cyto {

SamplerPlan plan_dpmpp_2m(const NoiseSchedule& noise, const std::string& schedule, std::size_t num_inference_steps) {
  const std::vector<double> sigmas = schedule_sigmas(schedule, noise, num_inference_steps);
  SamplerPlan plan{sigmas.front(), {}};
  for (std::size_t i = 0; i < sigmas.size(); ++i) {
    const double sigma = sigmas[i];
    StepRow row{sigma, noise.timestep(sigma), 1 / std::sqrt(sigma * sigma + 1), 0, 1, 0};
    // With lambda = -log sigma, h_i = lambda_{i+1} - lambda_i and r = h_{i-1} / h_i:
    // x_{i+1} = sigma_{i+1} / sigma_i x_i + (1 - e^{-h_i}) ((1 + 1 / 2r) D_i - 1 / 2r D_{i-1}).
    // The first step is of first order. A step to sigma 0 returns D.
    if (i + 1 < sigmas.size()) {
      const double h = std::log(sigma / sigmas[i + 1]);
      const double gain = -std::expm1(-h);
      const double extrapolation = i == 0 ? 0.0 : h / (2 * std::log(sigmas[i - 1] / sigma));
      row.a = sigmas[i + 1] / sigma;
      row.b = gain * (1 + extrapolation);
      row.c = -gain * extrapolation;
    }
    plan.rows.push_back(row);
  }
  return plan;
}

std::vector<StepRow> scaled_rows(const SamplerPlan& plan) {
  std::vector<StepRow> rows = plan.rows;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double own = plan.rows[i].c_in;
    const double following = i + 1 < rows.size() ? plan.rows[i + 1].c_in : 1.0;
    const double before = i > 0 ? plan.rows[i - 1].c_in : 1.0;
    rows[i].sigma *= own;
    rows[i].a *= following / own;
    rows[i].b *= following / own;
    rows[i].c *= following / before;
  }
  return rows;
}

}  // namespace cyto
