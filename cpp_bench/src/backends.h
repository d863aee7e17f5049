// The backends that are built in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "bundle.h"
#include "options.h"

namespace cyto {

const std::vector<std::string>& built_backends();

/// Open the backend that the options name, for these batches. `precision` applies to OpenVINO only. Throws RequestError
/// if the machine has no device for the backend, or the bundle has no plans.
std::unique_ptr<Backend> open_backend(const Options& options, const Bundle& bundle,
                                      const std::vector<std::size_t>& batches, Precision precision);

}  // namespace cyto
