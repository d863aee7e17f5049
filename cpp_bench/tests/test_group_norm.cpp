// Rewriting group normalisation: the result equals the definition, and other nodes are not changed.
#include "group_norm.h"

#include <algorithm>
#include <cmath>
#include <openvino/opsets/opset13.hpp>
#include <random>

#include "check.h"
#include "tests.h"

namespace {

namespace ops = ov::opset13;

constexpr std::size_t kChannels = 16, kGroups = 4;
constexpr double kEpsilon = 1e-3;

std::vector<float> drawn(std::size_t count, float mean) {
  std::mt19937 generator(static_cast<unsigned>(count));
  std::normal_distribution<float> normal(mean, 2);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

std::shared_ptr<ov::Model> model_of(const ov::Shape& shape, const ov::element::Type& type) {
  const auto x = std::make_shared<ops::Parameter>(type, shape);
  const auto scale = ops::Constant::create(type, ov::Shape{kChannels}, drawn(kChannels, 1));
  const auto shift = ops::Constant::create(type, ov::Shape{kChannels}, drawn(kChannels, -1));
  const auto norm = std::make_shared<ops::GroupNormalization>(x, scale, shift, kGroups, kEpsilon);
  return std::make_shared<ov::Model>(ov::OutputVector{norm}, ov::ParameterVector{x});
}

std::size_t norms_in(const ov::Model& model) {
  const auto nodes = model.get_ops();
  return static_cast<std::size_t>(std::count_if(
      nodes.begin(), nodes.end(), [](const auto& node) { return ov::is_type<ops::GroupNormalization>(node); }));
}

/// Wu and He 2018, in double, per group of a picture: (x - mean) / sqrt(variance + epsilon) * scale + shift.
std::vector<double> by_definition(const std::vector<float>& x, std::size_t plane) {
  const std::vector<float> scale = drawn(kChannels, 1), shift = drawn(kChannels, -1);
  const std::size_t in_group = plane * kChannels / kGroups;
  std::vector<double> found(x.size());
  for (std::size_t start = 0; start < x.size(); start += in_group) {
    double mean = 0, variance = 0;
    for (std::size_t i = start; i < start + in_group; ++i) mean += x[i] / static_cast<double>(in_group);
    for (std::size_t i = start; i < start + in_group; ++i) {
      variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(in_group);
    }
    for (std::size_t i = start; i < start + in_group; ++i) {
      const std::size_t channel = i / plane % kChannels;
      found[i] = (x[i] - mean) / std::sqrt(variance + kEpsilon) * scale[channel] + shift[channel];
    }
  }
  return found;
}

void test_the_equation() {
  const ov::Shape shape{2, kChannels, 64, 64};
  const auto model = model_of(shape, ov::element::f32);
  cyto::keep_channels_last(model);
  EXPECT(norms_in(*model) == 0);
  // A mean far from 0 reveals a variance that is not taken about the mean.
  std::vector<float> x = drawn(ov::shape_size(shape), 100);
  ov::TensorVector outputs{ov::Tensor(ov::element::f32, shape)};
  EXPECT(model->evaluate(outputs, {ov::Tensor(ov::element::f32, shape, x.data())}));
  const std::vector<double> wanted = by_definition(x, 64 * 64);
  const float* found = outputs[0].data<float>();
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(found[i] - wanted[i]));
  EXPECT_CLOSE(largest, 0, 1e-3);
}

void test_what_it_leaves_alone() {
  for (const auto& model :
       {model_of({1, kChannels, 64, 64}, ov::element::f32), model_of({32, kChannels, 4096}, ov::element::f32),
        model_of({2, kChannels, 64, 64}, ov::element::f16)}) {
    cyto::keep_channels_last(model);
    EXPECT(norms_in(*model) == 1);
  }
}

}  // namespace

void cyto::test::test_group_norm() {
  test_the_equation();
  test_what_it_leaves_alone();
}
