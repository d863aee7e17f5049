// Percentiles compared with NumPy, and the warnings about the host.
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "check.h"
#include "host.h"
#include "measure.h"
#include "statistics.h"
#include "tests.h"

namespace {

using nlohmann::json;

void test_quantiles() {
  std::ifstream file(std::string(CYTO_GOLDEN) + "/cpp_tables.json");
  const json golden = json::parse(file);
  for (const json& wanted : golden["statistics"]) {
    const auto samples = wanted["samples"].get<std::vector<double>>();
    for (const json& pair : wanted["quantiles"]) {
      EXPECT_CLOSE(cyto::quantile(samples, pair[0]), pair[1].get<double>(), 1e-12);
    }
    EXPECT_CLOSE(cyto::summarize(samples).mean, wanted["mean"].get<double>(), 1e-12);
  }
}

void test_spread() {
  std::vector<double> samples;
  for (int i = 100; i >= 0; --i) samples.push_back(i);
  const cyto::Summary found = cyto::summarize(samples);
  EXPECT(found.p50 == 50 && found.p90 == 90 && found.p99 == 99 && found.least == 0 && found.most == 100);
  EXPECT_CLOSE(found.spread, (90.0 - 10.0) / 50.0, 1e-12);
  EXPECT(cyto::summarize({3}).spread == 0);
}

/// Two threads with `cpu_s` of processor time in one second, and `inside` of ten milliseconds in the runtime.
cyto::Measured measured(double cpu_s, double inside) { return {{{10, {{"graphs", inside}}}}, 1, cpu_s, 1, 1}; }

void test_host_limits() {
  EXPECT(cyto::processor_limits(measured(2.0, 9.9), 2, "graphs").empty());
  const auto shared = cyto::processor_limits(measured(1.0, 9.9), 2, "graphs");
  EXPECT(shared.size() == 1 && cyto::test::has(shared[0], {"2 threads were busy for 50 %", "other processes"}));
  const auto host = cyto::processor_limits(measured(2.0, 8.0), 2, "graphs");
  EXPECT(host.size() == 1 && cyto::test::has(host[0], {"20 % of the time is spent outside the graphs"}));
}

class Counting : public cyto::Workload {
 public:
  explicit Counting(int fails_at) : fails_at_(fails_at) {}
  cyto::Sample run() override {
    if (++runs == fails_at_) throw std::runtime_error("a failing stream");
    return {1.0 * runs, {}};
  }
  cyto::Output output() override { return {}; }
  int runs = 0;

 private:
  int fails_at_;
};

std::vector<std::unique_ptr<cyto::Workload>> workloads(int fails_at) {
  std::vector<std::unique_ptr<cyto::Workload>> both;
  both.push_back(std::make_unique<Counting>(0));
  both.push_back(std::make_unique<Counting>(fails_at));
  return both;
}

void test_measure() {
  const auto both = workloads(0);
  const cyto::Measured found = cyto::measure(both, 4, {3, 5, 0});
  EXPECT(found.samples.size() == 10 && found.batch == 4 && found.streams == 2);
  // The first three runs were the warm-up.
  for (const cyto::Sample& sample : found.samples) EXPECT(sample.latency_ms > 3 && sample.latency_ms <= 8);
  EXPECT(cyto::measure(both, 4, {0, {}, 0}).samples.size() == 2);
  try {
    cyto::measure(workloads(2), 4, {0, 5, 0});
    EXPECT(false);
  } catch (const std::runtime_error& error) {
    EXPECT(std::string(error.what()) == "a failing stream");
  }
}

}  // namespace

void cyto::test::test_statistics() {
  test_quantiles();
  test_spread();
  test_host_limits();
  test_measure();
}
