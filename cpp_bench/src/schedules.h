// Noise schedules in float64, from a model's betas to the sigmas of a run and back to timesteps.
//
// The variance-exploding notation of Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps, where a DDPM latent
// is x / sqrt(sigma^2 + 1) and sigma^2 = (1 - abar) / abar.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cyto {

/// The scaled-linear schedule: sqrt(beta) rises linearly over num_train_timesteps (at least 2).
class NoiseSchedule {
 public:
  NoiseSchedule(double beta_start, double beta_end, std::size_t num_train_timesteps);

  /// The model's own sigmas, ascending.
  const std::vector<double>& sigmas() const { return sigmas_; }

  /// The fractional timestep of a sigma > 0, by linear interpolation in log sigma as k-diffusion does it.
  double timestep(double sigma) const;

  /// The inverse of `timestep`.
  double sigma_at(double timestep) const;

 private:
  std::vector<double> sigmas_, log_sigmas_;
};

/// "karras", "normal", "exponential", "sgm_uniform", "leading".
const std::vector<std::string>& schedule_names();

/// The sigmas of the steps, descending and above 0. `name` is one of schedule_names().
std::vector<double> schedule_sigmas(const std::string& name, const NoiseSchedule& noise,
                                    std::size_t num_inference_steps);

/// The UNet's sinusoidal features of one timestep (Vaswani et al. 2017, section 3.5), cosines first: (F,). In float64,
/// because a runtime's bf16 mode would round a timestep of 961.73 to 960.
std::vector<float> time_features(double timestep, const std::vector<double>& frequencies);

}  // namespace cyto
