#include "group_norm.h"

#include <openvino/opsets/opset13.hpp>

namespace cyto {
namespace {

namespace ops = ov::opset13;
using Values = ov::Output<ov::Node>;

/// A smaller tensor stays in the cache of a core, where reordering costs less than the additional operations.
constexpr std::size_t kLeastElements = std::size_t{1} << 17;

/// Builds the equation for tensors of one shape.
class Equation {
 public:
  Equation(const ov::Shape& shape, std::int64_t groups)
      : batch_(static_cast<std::int64_t>(shape[0])),
        channels_(static_cast<std::int64_t>(shape[1])),
        groups_(groups),
        in_groups_({-1, groups, channels_ / groups}),
        by_group_({groups, channels_ / groups}) {}

  Values normalised(const Values& x, const Values& scale, const Values& shift, double epsilon) const {
    const Values mean = mean_of_group(mean_of_plane(x));
    const Values mean_of_each = std::make_shared<ops::Broadcast>(mean, whole({batch_, groups_, channels_ / groups_}));
    const Values centred = std::make_shared<ops::Subtract>(x, by_channel(mean_of_each));
    const Values variance = mean_of_group(mean_of_plane(product(centred, centred)));
    const Values deviation =
        std::make_shared<ops::Sqrt>(std::make_shared<ops::Add>(variance, number(static_cast<float>(epsilon))));
    const Values inverse = std::make_shared<ops::Divide>(number(1), deviation);
    const Values factor = product(shaped(scale, by_group_), inverse);
    const Values offset = std::make_shared<ops::Subtract>(shaped(shift, by_group_), product(mean, factor));
    return std::make_shared<ops::Add>(product(x, by_channel(factor)), by_channel(offset));
  }

 private:
  using Shape = std::vector<std::int64_t>;

  static Values whole(const Shape& values) {
    return ops::Constant::create(ov::element::i64, ov::Shape{values.size()}, values);
  }
  static Values number(float value) { return ops::Constant::create(ov::element::f32, ov::Shape{}, {value}); }
  static Values product(const Values& a, const Values& b) { return std::make_shared<ops::Multiply>(a, b); }
  static Values shaped(const Values& x, const Shape& shape) {
    return std::make_shared<ops::Reshape>(x, whole(shape), false);
  }
  static Values mean_of_plane(const Values& x) { return std::make_shared<ops::ReduceMean>(x, whole({2, 3}), true); }

  /// (B, C, 1, 1) -> (B, groups, 1).
  Values mean_of_group(const Values& of_channels) const {
    return std::make_shared<ops::ReduceMean>(shaped(of_channels, in_groups_), whole({2}), true);
  }
  /// (B, groups, C / groups) -> (B, C, 1, 1).
  Values by_channel(const Values& in_groups) const { return shaped(in_groups, {-1, channels_, 1, 1}); }

  std::int64_t batch_, channels_, groups_;
  Shape in_groups_, by_group_;
};

}  // namespace

void keep_channels_last(const std::shared_ptr<ov::Model>& model) {
  for (const std::shared_ptr<ov::Node>& node : model->get_ordered_ops()) {
    const auto norm = ov::as_type_ptr<ops::GroupNormalization>(node);
    if (!norm) continue;
    const ov::Shape shape = norm->get_input_shape(0);
    if (norm->get_input_element_type(0) != ov::element::f32) continue;
    if (shape.size() != 4 || ov::shape_size(shape) < kLeastElements) continue;
    const Equation equation(shape, norm->get_num_groups());
    norm->output(0).replace(
        equation.normalised(norm->input_value(0), norm->input_value(1), norm->input_value(2), norm->get_epsilon()));
  }
}

}  // namespace cyto
