// Timing: after a warm-up, all streams run their workloads repeatedly at the same time.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backend.h"

namespace cyto {

/// Length of a measurement: iterations per stream, or seconds with at least one iteration.
struct Window {
  std::size_t warmup;
  std::optional<std::size_t> iterations;
  double duration_s;
};

/// Time the workloads. The first exception of a stream is thrown after all streams have ended.
Measured measure(const std::vector<std::unique_ptr<Workload>>& workloads, std::size_t batch, const Window& window);

}  // namespace cyto
