#include "host.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace cyto {
namespace {

constexpr double kMostOutside = 0.1;
constexpr double kLeastBusy = 0.8;

/// Return the processor, its family and model, as in the engine's records.
std::string processor_name() {
  std::map<std::string, std::string> facts;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t end = line.find_last_not_of(" \t", colon == 0 ? 0 : colon - 1);
    const std::size_t start = line.find_first_not_of(" \t", colon + 1);
    if (end != std::string::npos && start != std::string::npos) facts[line.substr(0, end + 1)] = line.substr(start);
  }
  const auto fact = [&](const std::string& name) { return facts.count(name) != 0 ? facts[name] : "?"; };
  return fact("model name") + ", family " + fact("cpu family") + ", model " + fact("model");
}

std::string percent(double share) {
  char text[16];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * share);
  return text;
}

}  // namespace

nlohmann::json host_facts() {
  utsname system{};
  uname(&system);
  return {{"processor", processor_name()},
          {"cores", usable_cores()},
          {"system", std::string(system.sysname) + " " + system.release + " " + system.machine}};
}

std::size_t usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return static_cast<std::size_t>(CPU_COUNT(&cores));
}

double process_cpu_s() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double share_outside(const std::vector<Sample>& samples, const std::string& part) {
  double all = 0, inside = 0;
  for (const Sample& sample : samples) {
    all += sample.latency_ms;
    inside += sample.parts_ms.at(part);
  }
  return 1 - inside / all;
}

double busy_share(const Measured& measured, std::size_t threads) {
  return measured.cpu_s / (measured.wall_s * static_cast<double>(threads));
}

std::vector<std::string> processor_limits(const Measured& measured, std::size_t threads, const std::string& part) {
  std::vector<std::string> found;
  const double outside = share_outside(measured.samples, part);
  if (outside > kMostOutside) {
    found.push_back("the host limits the speed: " + percent(outside) + " of the time is spent outside the graphs");
  }
  const double busy = busy_share(measured, threads);
  if (busy < kLeastBusy) {
    found.push_back("the host limits the speed: " + std::to_string(threads) + " threads were busy for " +
                    percent(busy) +
                    " of the time; other processes used the cores, or the batch is too small for this many threads");
  }
  return found;
}

}  // namespace cyto
