// The JSON record of a run, and its table for people.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "backend.h"
#include "bundle.h"
#include "options.h"
#include "reference.h"

namespace cyto {

/// Return the result of one setting: times in milliseconds, rates per second, and raw samples stream by stream.
nlohmann::json result_record(const Setting& setting, const Backend& backend, const Measured& measured, double open_s,
                             double deviation);

/// Return everything except the results: machine, versions, commit, bundle and request.
nlohmann::json run_record(const Options& options, const Bundle& bundle, const Task& task, const Backend& backend);

/// Return the head of the table, and a result as a line of the table.
std::string table_head(Mode mode);
std::string table_line(const nlohmann::json& result);

}  // namespace cyto
