#include "backends.h"

#include "error.h"
#include "host.h"
#ifdef CYTO_WITH_OPENVINO
#include "backend_openvino.h"
#endif
#ifdef CYTO_WITH_TENSORRT
#include "backend_tensorrt.h"
#endif

namespace cyto {

const std::vector<std::string>& built_backends() {
  static const std::vector<std::string> names = {
#ifdef CYTO_WITH_OPENVINO
      "openvino",
#endif
#ifdef CYTO_WITH_TENSORRT
      "tensorrt",
#endif
  };
  return names;
}

std::unique_ptr<Backend> open_backend(const Options& options, [[maybe_unused]] const Bundle& bundle,
                                      [[maybe_unused]] const std::vector<std::size_t>& batches,
                                      [[maybe_unused]] Precision precision) {
#ifdef CYTO_WITH_TENSORRT
  if (options.backend == "tensorrt") return open_tensorrt(bundle, options.class_name, batches);
#endif
#ifdef CYTO_WITH_OPENVINO
  if (options.backend == "openvino") {
    return open_openvino(precision, options.threads == 0 ? usable_cores() : options.threads);
  }
#endif
  throw RequestError("--backend", options.backend.empty() ? "no backend is built in" : options.backend,
                     "openvino or tensorrt", "see the output of make cpp-bench for the runtimes that it found");
}

}  // namespace cyto
