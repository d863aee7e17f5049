// The sampler as a table, which the engine computes. With D = u - sigma * eps(u * c_in, t), each row is one evaluation:
// x_next = a x + b D + c H1 + c2 H2 + c3 H3, where u is x if the row before says nothing else, and H1, H2, H3 are what
// the three rows before kept.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace cyto {

/// Coefficients of x, D, H1, H2, H3 and of noise, which this program does not add.
using Terms = std::array<double, 6>;

/// One evaluation: the noise level, the inputs of the UNet (timestep, input scale), and the coefficients of what
/// follows.
struct StepRow {
  double sigma, timestep, c_in;
  /// The next x.
  Terms x;
  /// The next u. Without one, the next evaluation is at the next x.
  std::optional<Terms> point;
  /// What later rows see as H1, H2, H3.
  Terms kept;

  bool keeps_denoised() const { return kept == Terms{0, 1, 0, 0, 0, 0}; }
  /// Whether the row is x_next = a x + b D + c H1, evaluates at x and keeps D.
  bool simple() const { return !point && keeps_denoised() && x[3] == 0 && x[4] == 0; }
};

/// The table: its rows in order, and the standard deviation of the first latents.
struct SamplerPlan {
  double initial_scale;
  std::vector<StepRow> rows;

  bool simple() const;
};

/// Return the table that a reference of the engine holds as JSON. Throws RequestError with this subject and fix.
SamplerPlan parse_plan(const std::string& text, const std::string& subject, const std::string& fix);

/// Return the table of simple rows for u = c_in x, the input of the UNet, so that a device needs no scaling between
/// steps. With D' = c_in D and sigma' = c_in sigma: D' = u - sigma' eps and u_next = a' u + b' D' + c' D'_prev, where
/// a' = a k / c_in, b' = b k / c_in, c' = c k / (c_in of the previous row), and k is the next row's c_in, or 1 in the
/// last row.
std::vector<StepRow> scaled_rows(const SamplerPlan& plan);

/// Return the sinusoidal time features (F,) of one timestep (Vaswani et al. 2017, section 3.5), cosines first. They are
/// computed in float64, because the bf16 mode of a runtime would round a timestep of 961.73 to 960.
std::vector<float> time_features(double timestep, const std::vector<double>& frequencies);

}  // namespace cyto
