#include "measure.h"

#include <exception>
#include <functional>
#include <thread>

#include "host.h"

namespace cyto {
namespace {

/// Run `work` for every stream, each in its own thread.
void on_every_stream(std::size_t streams, const std::function<void(std::size_t)>& work) {
  std::vector<std::exception_ptr> problems(streams);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < streams; ++i) {
    threads.emplace_back([&, i] {
      try {
        work(i);
      } catch (...) {
        problems[i] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& problem : problems) {
    if (problem) std::rethrow_exception(problem);
  }
}

}  // namespace

Measured measure(const std::vector<std::unique_ptr<Workload>>& workloads, std::size_t batch, const Window& window) {
  on_every_stream(workloads.size(), [&](std::size_t stream) {
    for (std::size_t i = 0; i < window.warmup; ++i) workloads[stream]->run();
  });
  std::vector<std::vector<Sample>> samples(workloads.size());
  const double cpu_before = process_cpu_s();
  const Clock::time_point began = Clock::now();
  const auto seconds = [&] { return 1e-3 * milliseconds(Clock::now() - began); };
  on_every_stream(workloads.size(), [&](std::size_t stream) {
    std::vector<Sample>& own = samples[stream];
    do {
      own.push_back(workloads[stream]->run());
    } while (window.iterations ? own.size() < *window.iterations : seconds() < window.duration_s);
  });
  Measured measured{{}, seconds(), process_cpu_s() - cpu_before, batch, workloads.size()};
  for (const std::vector<Sample>& own : samples) {
    measured.samples.insert(measured.samples.end(), own.begin(), own.end());
  }
  return measured;
}

}  // namespace cyto
