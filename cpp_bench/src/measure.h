// Timing: warm-up, then every stream runs its workload again and again at the same time as the others.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backend.h"

namespace cyto {

/// How long: so many iterations of each stream, or until so many seconds have passed, with one iteration at least.
struct Window {
  std::size_t warmup;
  std::optional<std::size_t> iterations;
  double duration_s;
};

/// The first exception of a stream is thrown once all have ended.
Measured measure(const std::vector<std::unique_ptr<Workload>>& workloads, std::size_t batch, const Window& window);

}  // namespace cyto
