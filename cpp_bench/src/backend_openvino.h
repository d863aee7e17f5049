// OpenVINO on the CPU.
#pragma once

#include <memory>

#include "backend.h"

namespace cyto {

std::unique_ptr<Backend> open_openvino(Precision precision, std::size_t threads);

}  // namespace cyto
