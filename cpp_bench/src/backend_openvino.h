// OpenVINO on the CPU.
#pragma once

#include <memory>

#include "backend.h"

namespace cyto {

/// `exact`: float32 arithmetic; otherwise bf16 where the processor has it.
std::unique_ptr<Backend> open_openvino(bool exact, std::size_t threads);

}  // namespace cyto
