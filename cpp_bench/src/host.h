// This machine: its processor, this process's share of it, and whether the share was the limit.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "backend.h"

namespace cyto {

/// Processor, cores that this process may use, system.
nlohmann::json host_facts();

/// Cores that this process may use.
std::size_t usable_cores();

/// Processor time of this process, user and system, all threads, in seconds.
double process_cpu_s();

/// Why the host was the limit of a runtime that computes on `threads` of its cores: more than a tenth of the latency
/// lay outside the part that is the runtime's, or the threads were at work less than four fifths of the time.
std::vector<std::string> processor_limits(const Measured& measured, std::size_t threads, const std::string& part);

/// The part of the latencies that was not spent in `part`.
double share_outside(const std::vector<Sample>& samples, const std::string& part);

/// The processor time of the window as a share of what `threads` could have given.
double busy_share(const Measured& measured, std::size_t threads);

}  // namespace cyto
