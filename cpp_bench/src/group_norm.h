// Group normalisation that keeps channels last. engine/backends/group_norm.py explains why.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

namespace cyto {

/// Replace each GroupNormalization of (B, C, H, W) float32 with at least 2^17 elements by its equation, as in the
/// engine. The shapes of the model must be static.
void keep_channels_last(const std::shared_ptr<ov::Model>& model);

}  // namespace cyto
