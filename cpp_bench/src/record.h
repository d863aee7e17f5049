// The JSON record of a run, and its table for people.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "backend.h"
#include "bundle.h"
#include "options.h"
#include "reference.h"

namespace cyto {

/// One setting's result. Times in milliseconds, rates a second; `samples_ms` and each part's are raw, stream by stream.
nlohmann::json result_record(const Setting& setting, const Backend& backend, const Measured& measured, double open_s,
                             double deviation);

/// Everything but the results: machine, versions, commit, bundle and request.
nlohmann::json run_record(const Options& options, const Bundle& bundle, const Task& task, const Backend& backend,
                          const std::string& schedule);

/// A result as a line of the table, and the table's head.
std::string table_head(Mode mode);
std::string table_line(const nlohmann::json& result);

}  // namespace cyto
