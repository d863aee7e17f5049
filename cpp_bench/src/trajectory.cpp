#include "trajectory.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cyto {

HostTrajectory::HostTrajectory(const Task& task, std::size_t batch, UnetPorts unet)
    : task_(task),
      unet_(std::move(unet)),
      first_(repeated(task.noise, batch, static_cast<float>(task.plan.initial_scale))),
      x_(first_),
      denoised_(first_.size()),
      point_(first_.size()),
      next_(first_.size()),
      next_point_(first_.size()),
      kept_(first_.size()) {
  for (std::vector<float>& one : past_) one.resize(first_.size());
  for (const StepRow& row : task.plan.rows) features_.push_back(feature_rows(task, row.timestep, batch));
}

void HostTrajectory::evaluate(std::size_t step, const std::vector<float>& point) {
  const auto c_in = static_cast<float>(task_.plan.rows[step].c_in);
  for (std::size_t i = 0; i < point.size(); ++i) unet_.latents[i] = point[i] * c_in;
  if (task_.guided()) std::copy_n(unet_.latents, point.size(), unet_.latents + point.size());
  std::copy(features_[step].begin(), features_[step].end(), unet_.time_features);
  unet_.infer();
}

void HostTrajectory::combine(const Terms& terms, std::vector<float>& result) const {
  const std::vector<float>* vectors[] = {&x_, &denoised_, &past_[0], &past_[1], &past_[2]};
  bool empty = true;
  for (std::size_t k = 0; k < std::size(vectors); ++k) {
    if (terms[k] == 0) continue;
    const auto coefficient = static_cast<float>(terms[k]);
    const std::vector<float>& vector = *vectors[k];
    for (std::size_t i = 0; i < result.size(); ++i) {
      const float product = coefficient * vector[i];
      result[i] = empty ? product : result[i] + product;
    }
    empty = false;
  }
  if (empty) std::fill(result.begin(), result.end(), 0.0F);
}

const std::vector<float>& HostTrajectory::run() {
  x_ = first_;
  for (std::vector<float>& one : past_) std::fill(one.begin(), one.end(), 0.0F);
  const auto scale = static_cast<float>(task_.guidance_scale);
  const std::vector<float>* u = &x_;
  for (std::size_t step = 0; step < task_.plan.rows.size(); ++step) {
    evaluate(step, *u);
    const StepRow& row = task_.plan.rows[step];
    const auto sigma = static_cast<float>(row.sigma);
    const float* unconditional = unet_.eps + x_.size();
    for (std::size_t i = 0; i < x_.size(); ++i) {
      float eps = unet_.eps[i];
      // Classifier-free guidance, Ho and Salimans 2022 (arXiv:2207.12598).
      if (task_.guided()) eps = unconditional[i] + scale * (eps - unconditional[i]);
      denoised_[i] = (*u)[i] - sigma * eps;
    }
    combine(row.x, next_);
    if (row.point) combine(*row.point, next_point_);
    if (!row.keeps_denoised()) combine(row.kept, kept_);
    past_[2].swap(row.keeps_denoised() ? denoised_ : kept_);
    past_[2].swap(past_[1]);
    past_[1].swap(past_[0]);
    x_.swap(next_);
    point_.swap(next_point_);
    u = row.point ? &point_ : &x_;
  }
  return x_;
}

}  // namespace cyto
