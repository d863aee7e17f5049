// Statistics of a list of times.
#pragma once

#include <vector>

namespace cyto {

/// Return the q-th quantile, q in [0, 1], by linear interpolation between the two nearest order statistics (definition
/// 7 of Hyndman and Fan 1996, doi:10.1080/00031305.1996.10473566; NumPy's default). `samples` must not be empty.
double quantile(std::vector<double> samples, double q);

struct Summary {
  double mean, p50, p90, p99, least, most;
  /// (p90 - p10) / p50: the width of the middle four fifths, divided by the median.
  double spread;
};

/// Return the summary of at least one sample.
Summary summarize(const std::vector<double>& samples);

}  // namespace cyto
