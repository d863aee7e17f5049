// TensorRT (classic or for RTX) on an NVIDIA GPU, for existing plans.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "bundle.h"

namespace cyto {

/// Throws RequestError if there is no GPU, or if no plans fit the GPU, this TensorRT and the batches.
std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, const std::string& class_name,
                                       const std::vector<std::size_t>& batches);

}  // namespace cyto
