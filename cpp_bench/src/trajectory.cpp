#include "trajectory.h"

#include <algorithm>
#include <utility>

namespace cyto {

HostTrajectory::HostTrajectory(const Task& task, std::size_t batch, UnetPorts unet)
    : task_(task),
      unet_(std::move(unet)),
      first_(repeated(task.noise, batch, static_cast<float>(task.plan.initial_scale))),
      x_(first_),
      previous_(first_.size()) {
  for (const StepRow& row : task.plan.rows) features_.push_back(feature_rows(task, row.timestep, batch));
}

void HostTrajectory::evaluate(std::size_t step) {
  const auto c_in = static_cast<float>(task_.plan.rows[step].c_in);
  for (std::size_t i = 0; i < x_.size(); ++i) unet_.latents[i] = x_[i] * c_in;
  if (task_.guided()) std::copy_n(unet_.latents, x_.size(), unet_.latents + x_.size());
  std::copy(features_[step].begin(), features_[step].end(), unet_.time_features);
  unet_.infer();
}

const std::vector<float>& HostTrajectory::run() {
  x_ = first_;
  std::fill(previous_.begin(), previous_.end(), 0.0F);
  const auto scale = static_cast<float>(task_.guidance_scale);
  for (std::size_t step = 0; step < task_.plan.rows.size(); ++step) {
    evaluate(step);
    const StepRow& row = task_.plan.rows[step];
    const auto sigma = static_cast<float>(row.sigma), a = static_cast<float>(row.a), b = static_cast<float>(row.b),
               c = static_cast<float>(row.c);
    const float* unconditional = unet_.eps + x_.size();
    for (std::size_t i = 0; i < x_.size(); ++i) {
      float eps = unet_.eps[i];
      // Classifier-free guidance, Ho and Salimans 2022 (arXiv:2207.12598).
      if (task_.guided()) eps = unconditional[i] + scale * (eps - unconditional[i]);
      const float denoised = x_[i] - sigma * eps;
      x_[i] = a * x_[i] + b * denoised + c * previous_[i];
      previous_[i] = denoised;
    }
  }
  return x_;
}

}  // namespace cyto
