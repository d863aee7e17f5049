#include "task.h"

namespace cyto {

std::vector<float> repeated(const std::vector<float>& values, std::size_t count, float scale) {
  std::vector<float> all;
  all.reserve(values.size() * count);
  for (std::size_t i = 0; i < count; ++i) {
    for (const float value : values) all.push_back(value * scale);
  }
  return all;
}

std::vector<float> first_rows(const Task& task, std::size_t batch) {
  const double scale = task.plan.initial_scale * task.plan.rows.front().c_in;
  return repeated(task.noise, task.unet_rows(batch), static_cast<float>(scale));
}

std::vector<float> context_rows(const Task& task, std::size_t batch) {
  const auto half = task.context.begin() + static_cast<std::ptrdiff_t>(task.context.size() / 2);
  std::vector<float> rows = repeated({task.context.begin(), half}, batch);
  if (task.guided()) {
    const std::vector<float> unconditional = repeated({half, task.context.end()}, batch);
    rows.insert(rows.end(), unconditional.begin(), unconditional.end());
  }
  return rows;
}

std::vector<float> feature_rows(const Task& task, double timestep, std::size_t batch) {
  return repeated(time_features(timestep, task.frequencies), task.unet_rows(batch));
}

}  // namespace cyto
