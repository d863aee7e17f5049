#include "schedules.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace cyto {
namespace {

/// Return `count` evenly spaced numbers from `first` to `last`, both included.
std::vector<double> linspace(double first, double last, std::size_t count) {
  std::vector<double> values(count, first);
  for (std::size_t i = 1; i < count; ++i) {
    values[i] = first + static_cast<double>(i) * ((last - first) / static_cast<double>(count - 1));
  }
  if (count > 1) values.back() = last;
  return values;
}

/// Equation 5 of Karras et al. 2022 over the range of the model: evenly spaced in sigma^(1 / rho).
std::vector<double> karras(const NoiseSchedule& noise, std::size_t steps) {
  constexpr double rho = 7.0;
  const double low = std::pow(noise.sigmas().front(), 1 / rho), high = std::pow(noise.sigmas().back(), 1 / rho);
  std::vector<double> sigmas = linspace(0, 1, steps);
  for (double& sigma : sigmas) sigma = std::pow(high + sigma * (low - high), rho);
  return sigmas;
}

double last_timestep(const NoiseSchedule& noise) { return static_cast<double>(noise.sigmas().size() - 1); }

std::vector<double> at_timesteps(const NoiseSchedule& noise, std::vector<double> timesteps) {
  for (double& value : timesteps) value = noise.sigma_at(value);
  return timesteps;
}

/// k-diffusion's get_sigmas: evenly spaced timesteps from the last to 0, both included.
std::vector<double> normal(const NoiseSchedule& noise, std::size_t steps) {
  return at_timesteps(noise, linspace(last_timestep(noise), 0, steps));
}

/// Evenly spaced in log sigma over the range of the model.
std::vector<double> exponential(const NoiseSchedule& noise, std::size_t steps) {
  std::vector<double> sigmas = linspace(std::log(noise.sigmas().back()), std::log(noise.sigmas().front()), steps);
  for (double& sigma : sigmas) sigma = std::exp(sigma);
  return sigmas;
}

/// Evenly spaced timesteps from the last towards 0, without 0, as in Stability's generative-models.
std::vector<double> sgm_uniform(const NoiseSchedule& noise, std::size_t steps) {
  std::vector<double> timesteps = linspace(last_timestep(noise), 0, steps + 1);
  timesteps.pop_back();
  return at_timesteps(noise, std::move(timesteps));
}

/// The grid of DDPM and DDIM in Stable Diffusion (timestep_spacing "leading", steps_offset 1): timesteps
/// i * floor(T / N) + 1.
std::vector<double> leading(const NoiseSchedule& noise, std::size_t steps) {
  const std::size_t spacing = noise.sigmas().size() / steps;
  std::vector<double> sigmas;
  for (std::size_t i = steps; i-- > 0;) {
    sigmas.push_back(noise.sigmas()[std::min(i * spacing + 1, noise.sigmas().size() - 1)]);
  }
  return sigmas;
}

using Schedule = std::function<std::vector<double>(const NoiseSchedule&, std::size_t)>;

const std::vector<std::pair<std::string, Schedule>>& schedules() {
  static const std::vector<std::pair<std::string, Schedule>> all = {{"karras", karras},
                                                                    {"normal", normal},
                                                                    {"exponential", exponential},
                                                                    {"sgm_uniform", sgm_uniform},
                                                                    {"leading", leading}};
  return all;
}

}  // namespace

NoiseSchedule::NoiseSchedule(double beta_start, double beta_end, std::size_t num_train_timesteps) {
  double abar = 1;
  for (const double root : linspace(std::sqrt(beta_start), std::sqrt(beta_end), num_train_timesteps)) {
    abar *= 1 - root * root;
    sigmas_.push_back(std::sqrt((1 - abar) / abar));
    log_sigmas_.push_back(std::log(sigmas_.back()));
  }
}

double NoiseSchedule::timestep(double sigma) const {
  const double wanted = std::log(sigma);
  if (wanted <= log_sigmas_.front()) return 0;
  if (wanted >= log_sigmas_.back()) return static_cast<double>(log_sigmas_.size() - 1);
  const auto above = std::upper_bound(log_sigmas_.begin(), log_sigmas_.end(), wanted);
  const double low = *(above - 1);
  return static_cast<double>(above - log_sigmas_.begin() - 1) + (wanted - low) / (*above - low);
}

double NoiseSchedule::sigma_at(double timestep) const {
  const auto below = static_cast<std::size_t>(timestep);
  if (below + 1 >= sigmas_.size()) return sigmas_.back();
  const double share = timestep - static_cast<double>(below);
  return std::exp(log_sigmas_[below] + share * (log_sigmas_[below + 1] - log_sigmas_[below]));
}

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    for (const auto& [name, _] : schedules()) found.push_back(name);
    return found;
  }();
  return names;
}

std::vector<double> schedule_sigmas(const std::string& name, const NoiseSchedule& noise,
                                    std::size_t num_inference_steps) {
  const auto chosen = std::find_if(schedules().begin(), schedules().end(),
                                   [&](const auto& schedule) { return schedule.first == name; });
  return chosen->second(noise, num_inference_steps);
}

std::vector<float> time_features(double timestep, const std::vector<double>& frequencies) {
  std::vector<float> features;
  for (const double frequency : frequencies) features.push_back(static_cast<float>(std::cos(timestep * frequency)));
  for (const double frequency : frequencies) features.push_back(static_cast<float>(std::sin(timestep * frequency)));
  return features;
}

}  // namespace cyto
