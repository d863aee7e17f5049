#include "samplers.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "json_field.h"

namespace cyto {
namespace {

constexpr double kLargest = 1e6;

Terms terms_of(const JsonField& field) {
  const std::vector<JsonField> found = field.elements();
  Terms terms{};
  if (found.size() != terms.size()) field.fail("6 numbers");
  for (std::size_t i = 0; i < terms.size(); ++i) terms[i] = found[i].number(-kLargest, kLargest);
  if (terms[5] != 0) found[5].fail("0, because this program adds no noise");
  return terms;
}

}  // namespace

bool SamplerPlan::simple() const {
  return std::all_of(rows.begin(), rows.end(), [](const StepRow& row) { return row.simple(); });
}

SamplerPlan parse_plan(const std::string& text, const std::string& subject, const std::string& fix) {
  const JsonSource source{subject, fix};
  const nlohmann::json json = parse_json(text, source);
  const JsonField top(source, "", json);
  SamplerPlan plan{top["initial_scale"].number(0, kLargest), {}};
  for (const JsonField& row : top["rows"].elements()) {
    StepRow one{row["sigma"].number(1e-6, kLargest),
                row["timestep"].number(0, kLargest),
                row["c_in"].number(1e-6, 1),
                terms_of(row["x"]),
                std::nullopt,
                terms_of(row["kept"])};
    if (row.has("point")) one.point = terms_of(row["point"]);
    plan.rows.push_back(one);
  }
  return plan;
}

std::vector<StepRow> scaled_rows(const SamplerPlan& plan) {
  std::vector<StepRow> rows = plan.rows;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double own = plan.rows[i].c_in;
    const double following = i + 1 < rows.size() ? plan.rows[i + 1].c_in : 1.0;
    const double before = i > 0 ? plan.rows[i - 1].c_in : 1.0;
    rows[i].sigma *= own;
    rows[i].x[0] *= following / own;
    rows[i].x[1] *= following / own;
    rows[i].x[2] *= following / before;
  }
  return rows;
}

std::vector<float> time_features(double timestep, const std::vector<double>& frequencies) {
  std::vector<float> features;
  for (const double frequency : frequencies) features.push_back(static_cast<float>(std::cos(timestep * frequency)));
  for (const double frequency : frequencies) features.push_back(static_cast<float>(std::sin(timestep * frequency)));
  return features;
}

}  // namespace cyto
