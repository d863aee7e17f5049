// TensorRT, classic or for RTX, on an NVIDIA GPU, for plans that were built before.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "bundle.h"

namespace cyto {

/// Throws RequestError where there is no GPU, or no plans that fit it, this TensorRT and the batches.
std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, const std::string& class_name,
                                       const std::vector<std::size_t>& batches);

}  // namespace cyto
