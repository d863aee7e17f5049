// The table of the sampler, the time features and the loop, compared with values of the engine and of k-diffusion.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "check.h"
#include "samplers.h"
#include "tests.h"
#include "trajectory.h"

namespace {

using cyto::StepRow;
using nlohmann::json;

json read(const std::string& name) {
  std::ifstream file(std::string(CYTO_GOLDEN) + "/" + name);
  return json::parse(file);
}

void test_scaled_rows(const json& golden) {
  for (const json& one : golden["plans"]) {
    const cyto::SamplerPlan plan = cyto::parse_plan(one["plan"].dump(), "The plan", "none");
    const std::vector<StepRow> found = cyto::scaled_rows(plan);
    const json& wanted = one["scaled_rows"];
    EXPECT(plan.simple() && found.size() == wanted.size());
    for (std::size_t i = 0; i < std::min(found.size(), wanted.size()); ++i) {
      const double values[] = {found[i].sigma, found[i].timestep, found[i].c_in,
                               found[i].x[0],  found[i].x[1],     found[i].x[2]};
      for (std::size_t j = 0; j < std::size(values); ++j) EXPECT_CLOSE(values[j], wanted[i][j].get<double>(), 1e-11);
    }
  }
}

void test_wrong_plans(const json& golden) {
  const json good = golden["plans"][0]["plan"];
  const std::vector<std::pair<std::string, json>> wrong = {
      {"/initial_scale", "1"}, {"/rows", json::array()},    {"/rows/0/x", {1.0, 2.0}},     {"/rows/0/x/5", 0.5},
      {"/rows/0/sigma", 0},    {"/rows/0/kept/1", nullptr}, {"/rows/0/point", {1.0, 0.0}},
  };
  for (const auto& [pointer, value] : wrong) {
    json plan = good;
    plan[json::json_pointer(pointer)] = value;
    EXPECT_REFUSED(cyto::parse_plan(plan.dump(), "The plan", "write it again"), "The plan", "found:", "write it again");
  }
  EXPECT_REFUSED(cyto::parse_plan("nothing", "The plan", "write it again"), "The plan", "write it again");
}

void test_time_features(const json& golden) {
  const auto frequencies = golden["frequencies"].get<std::vector<double>>();
  for (std::size_t i = 0; i < golden["timesteps"].size(); ++i) {
    const std::vector<float> found = cyto::time_features(golden["timesteps"][i], frequencies);
    for (std::size_t j = 0; j < found.size(); ++j) {
      EXPECT_CLOSE(static_cast<double>(found[j]), golden["time_features"][i][j].get<double>(), 1e-7);
    }
  }
}

/// The optimal denoiser of data N(mean, std^2) instead of a UNet. Both halves of a guided step are equal, so that
/// guidance changes nothing.
void test_trajectory(const json& tables, const json& golden, double guidance_scale) {
  const double mean = golden["mean"], variance = std::pow(golden["std"].get<double>(), 2);
  const auto x0 = golden["noise"].get<std::vector<float>>();
  constexpr std::size_t batch = 3;
  for (const json& one : tables["trajectories"]) {
    cyto::Task task{{},
                    {},
                    {},
                    {x0.size(), 1, 1},
                    1,
                    cyto::parse_plan(one["plan"].dump(), "The plan", "none"),
                    guidance_scale,
                    {1.0, 0.5},
                    1,
                    1,
                    {1, 2},
                    x0,
                    {},
                    {},
                    {}};
    const std::size_t rows = task.unet_rows(batch);
    std::vector<float> latents(rows * x0.size()), features(rows * 4), eps(rows * x0.size());
    std::size_t step = 0;
    cyto::HostTrajectory trajectory(
        task, batch, {latents.data(), features.data(), eps.data(), [&] {
                        const StepRow& row = task.plan.rows[step++];
                        EXPECT_CLOSE(static_cast<double>(features[4 * (rows - 1)]), std::cos(row.timestep), 1e-6);
                        for (std::size_t i = 0; i < latents.size(); ++i) {
                          const double x = static_cast<double>(latents[i]) / row.c_in, squared = row.sigma * row.sigma;
                          const double denoised = (variance * x + squared * mean) / (variance + squared);
                          eps[i] = static_cast<float>((x - denoised) / row.sigma);
                        }
                      }});
    const json& wanted = golden["runs"][one["run"].get<std::size_t>()]["results"][one["sampler"].get<std::string>()];
    for (int again = 0; again < 2; ++again) {
      step = 0;
      trajectory.run();
      for (std::size_t i = 0; i < trajectory.latents().size(); ++i) {
        EXPECT_CLOSE(static_cast<double>(trajectory.latents()[i]), wanted[i % x0.size()].get<double>(), 2e-5);
      }
    }
  }
}

}  // namespace

void cyto::test::test_table() {
  const json tables = read("cpp_tables.json");
  test_scaled_rows(tables);
  test_wrong_plans(tables);
  test_time_features(tables);
  test_trajectory(tables, read("k_diffusion.json"), 1);
  test_trajectory(tables, read("k_diffusion.json"), 7.5);
}
