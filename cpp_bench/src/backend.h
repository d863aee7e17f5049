// The interface of a runtime.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "task.h"

namespace cyto {

using Clock = std::chrono::steady_clock;

inline double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// The times of one iteration: its latency on the host's clock, from inputs in host memory to outputs in host memory,
/// and the parts that the backend measures separately.
struct Sample {
  double latency_ms;
  std::map<std::string, double> parts_ms;
};

/// The output of an iteration: latents or eps (B, C, h, w), or pictures (B, H, W, 3) and whether all are finite.
struct Output {
  std::vector<float> values;
  std::vector<std::uint8_t> images;
  bool finite = true;
};

/// One batch in flight. It is opened once and run many times, by one thread at a time.
class Workload {
 public:
  Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  virtual ~Workload() = default;

  virtual Sample run() = 0;
  virtual Output output() = 0;
};

/// All measurements of one setting.
struct Measured {
  std::vector<Sample> samples;
  /// Length of the timed window, and the processor time of this process in the window, for all streams together.
  double wall_s, cpu_s;
  std::size_t batch, streams;
};

/// The setting with which a workload is opened.
struct Setting {
  Mode mode;
  std::size_t batch;
  std::size_t streams;
  /// Replay the work on the device as one CUDA graph. Requires Backend::has_cuda_graphs.
  bool cuda_graph;
};

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  /// Runtime, version and arithmetic.
  virtual std::string version() const = 0;
  /// The facts about the device for the record.
  virtual nlohmann::json device() const = 0;
  virtual bool has_cuda_graphs() const = 0;
  /// Open one workload per stream, which all run at the same time.
  virtual std::vector<std::unique_ptr<Workload>> open(const Task& task, const Setting& setting) = 0;
  /// Explain why the host, not the runtime, limited the speed. Empty if it did not.
  virtual std::vector<std::string> host_limits(const Measured& measured) const = 0;
};

}  // namespace cyto
