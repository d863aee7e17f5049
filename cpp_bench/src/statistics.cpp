#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cyto {

double quantile(std::vector<double> samples, double q) {
  std::sort(samples.begin(), samples.end());
  const double place = q * static_cast<double>(samples.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, samples.size() - 1);
  return samples[below] + (place - static_cast<double>(below)) * (samples[above] - samples[below]);
}

Summary summarize(const std::vector<double>& samples) {
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  const double p50 = quantile(samples, 0.5), p90 = quantile(samples, 0.9);
  return {mean,
          p50,
          p90,
          quantile(samples, 0.99),
          quantile(samples, 0),
          quantile(samples, 1),
          (p90 - quantile(samples, 0.1)) / p50};
}

}  // namespace cyto
