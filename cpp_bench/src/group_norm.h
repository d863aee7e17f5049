// Group normalisation that keeps a picture's channels last; engine/backends/group_norm.py says why.
#pragma once

#include <memory>
#include <openvino/core/model.hpp>

namespace cyto {

/// Replace every GroupNormalization of (B, C, H, W) float32 with 2^17 elements or more by its equation, as the engine
/// does. The model's shapes must be static.
void keep_channels_last(const std::shared_ptr<ov::Model>& model);

}  // namespace cyto
