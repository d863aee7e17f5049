// Noise schedules in float64: from the betas of a model to sigmas, and from sigmas to timesteps.
//
// The notation is the variance-exploding one of Karras et al. 2022 (arXiv:2206.00364): x = x0 + sigma * eps. A DDPM
// latent is x / sqrt(sigma^2 + 1), with sigma^2 = (1 - abar) / abar.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cyto {

/// The scaled-linear schedule: sqrt(beta) rises linearly over num_train_timesteps (at least 2).
class NoiseSchedule {
 public:
  NoiseSchedule(double beta_start, double beta_end, std::size_t num_train_timesteps);

  /// The sigmas of the model, ascending.
  const std::vector<double>& sigmas() const { return sigmas_; }

  /// Return the fractional timestep of a sigma > 0, by linear interpolation in log sigma as in k-diffusion.
  double timestep(double sigma) const;

  /// Return the sigma of a fractional timestep, the inverse of `timestep`.
  double sigma_at(double timestep) const;

 private:
  std::vector<double> sigmas_, log_sigmas_;
};

/// Return the names: "karras", "normal", "exponential", "sgm_uniform", "leading".
const std::vector<std::string>& schedule_names();

/// Return the sigmas of the steps, descending and above 0. `name` is one of schedule_names().
std::vector<double> schedule_sigmas(const std::string& name, const NoiseSchedule& noise,
                                    std::size_t num_inference_steps);

/// Return the sinusoidal time features (F,) of one timestep (Vaswani et al. 2017, section 3.5), cosines first. They are
/// computed in float64, because the bf16 mode of a runtime would round a timestep of 961.73 to 960.
std::vector<float> time_features(double timestep, const std::vector<double>& frequencies);

}  // namespace cyto
