// The backends that were built in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "bundle.h"
#include "options.h"

namespace cyto {

const std::vector<std::string>& built_backends();

/// Open the one that is asked for, for these batches. `precision` is of OpenVINO. Throws RequestError where the machine
/// has no device for it, or the bundle no plans.
std::unique_ptr<Backend> open_backend(const Options& options, const Bundle& bundle,
                                      const std::vector<std::size_t>& batches, Precision precision);

}  // namespace cyto
