// What the benchmark needs of a runtime.
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

/// One iteration: its latency on the host's clock, inputs in the host's memory to outputs there, and the parts of it
/// that the backend measures apart.
struct Sample {
  double latency_ms;
  std::map<std::string, double> parts_ms;
};

/// What an iteration left: latents or eps (B, C, h, w), or pictures (B, H, W, 3) and whether all were finite.
struct Output {
  std::vector<float> values;
  std::vector<std::uint8_t> images;
  bool finite = true;
};

/// One batch in flight: opened once, run again and again by one thread at a time.
class Workload {
 public:
  Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  virtual ~Workload() = default;

  virtual Sample run() = 0;
  virtual Output output() = 0;
};

/// Everything that was measured of one setting.
struct Measured {
  std::vector<Sample> samples;
  /// Of all streams together: the timed window, and the processor time that this process spent in it.
  double wall_s, cpu_s;
  std::size_t batch, streams;
};

/// How a workload is opened.
struct Setting {
  Mode mode;
  std::size_t batch;
  std::size_t streams;
  /// Replay what is started on the device as one CUDA graph. Only where Backend::has_cuda_graphs.
  bool cuda_graph;
};

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  /// Runtime, version and what it computes in.
  virtual std::string version() const = 0;
  /// The device's own part of the record's machine.
  virtual nlohmann::json device() const = 0;
  virtual bool has_cuda_graphs() const = 0;
  /// One workload a stream, all of them in flight at the same time.
  virtual std::vector<std::unique_ptr<Workload>> open(const Task& task, const Setting& setting) = 0;
  /// In words, why the host and not the runtime was the limit; empty where it was not.
  virtual std::vector<std::string> host_limits(const Measured& measured) const = 0;
};

}  // namespace cyto
