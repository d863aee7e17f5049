// The host: its processor, the share of this process, and whether this share limited the speed.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "backend.h"

namespace cyto {

/// Return the processor, the cores that this process may use, and the system.
nlohmann::json host_facts();

/// Return the number of cores that this process may use.
std::size_t usable_cores();

/// Return the user and system time of all threads of this process, in seconds.
double process_cpu_s();

/// Explain why the host limited a runtime that computes on `threads` cores: more than a tenth of the latency is spent
/// outside `part`, which is the runtime's, or the threads were busy for less than four fifths of the time.
std::vector<std::string> processor_limits(const Measured& measured, std::size_t threads, const std::string& part);

/// Return the share of the latencies that is spent outside `part`.
double share_outside(const std::vector<Sample>& samples, const std::string& part);

/// Return the processor time of the window as a share of the time that `threads` threads have in the window.
double busy_share(const Measured& measured, std::size_t threads);

}  // namespace cyto
