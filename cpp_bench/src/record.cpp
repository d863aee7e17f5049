#include "record.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "build_info.h"
#include "host.h"
#include "statistics.h"

namespace cyto {
namespace {

nlohmann::json summary_record(const std::vector<double>& samples) {
  const Summary found = summarize(samples);
  return {{"mean", found.mean}, {"p50", found.p50},  {"p90", found.p90},      {"p99", found.p99},
          {"min", found.least}, {"max", found.most}, {"spread", found.spread}};
}

std::string rate_name(Mode mode) { return mode == Mode::unet ? "steps_per_second" : "pictures_per_second"; }

}  // namespace

nlohmann::json result_record(const Setting& setting, const Backend& backend, const Measured& measured, double open_s,
                             double deviation) {
  std::vector<double> latencies;
  std::map<std::string, std::vector<double>> parts;
  for (const Sample& sample : measured.samples) {
    latencies.push_back(sample.latency_ms);
    for (const auto& [name, value] : sample.parts_ms) parts[name].push_back(value);
  }
  nlohmann::json record = {
      {"mode", name_of(setting.mode)},
      {"batch", setting.batch},
      {"streams", setting.streams},
      {"open_s", open_s},
      {"wall_s", measured.wall_s},
      {"cpu_s", measured.cpu_s},
      {"iterations", latencies.size()},
      {rate_name(setting.mode), static_cast<double>(latencies.size() * setting.batch) / measured.wall_s},
      {"latency_ms", summary_record(latencies)},
      {"samples_ms", latencies},
      {"host_limits", backend.host_limits(measured)},
  };
  if (backend.has_cuda_graphs()) record["cuda_graph"] = setting.cuda_graph;
  // The reference holds no result of a single UNet evaluation.
  if (setting.mode != Mode::unet) record["deviation"] = deviation;
  for (const auto& [name, samples] : parts) {
    record["parts"][name] = {{"latency_ms", summary_record(samples)}, {"samples_ms", samples}};
  }
  return record;
}

nlohmann::json run_record(const Options& options, const Bundle& bundle, const Task& task, const Backend& backend) {
  nlohmann::json machine = host_facts();
  machine.update(backend.device());
  nlohmann::json request = {
      {"mode", name_of(options.mode)}, {"batches", options.batches},           {"streams", options.streams},
      {"backend", options.backend},    {"evaluations", task.plan.rows.size()}, {"guidance_scale", task.guidance_scale},
      {"warmup", options.warmup},
  };
  if (!bundle.preset.empty()) request["preset"] = bundle.preset;
  if (options.iterations) {
    request["iterations"] = *options.iterations;
  } else {
    request["duration_s"] = options.duration_s;
  }
  if (options.backend == "openvino") {
    request["precision"] = name_of(options.precision);
    request["threads"] = options.threads == 0 ? usable_cores() : options.threads;
  }
  return {
      {"format_version", 1},
      {"machine", machine},
      {"versions",
       {{"cyto_bench", kVersion}, {"runtime", backend.version()}, {"compiler", kCompiler}, {"build", kBuildType}}},
      {"commit", kCommit},
      {"bundle", bundle.manifest.name},
      {"bundle_sha256", bundle.sha256},
      {"class", options.class_name},
      {"latents", {task.latent_shape.channels, task.latent_shape.height, task.latent_shape.width}},
      {"request", request},
  };
}

std::string table_head(Mode mode) {
  char line[160];
  std::snprintf(line, sizeof line, "%6s %8s %6s %10s %10s %10s %10s %8s %12s %11s", "batch", "streams", "graph",
                "p50 ms", "p90 ms", "p99 ms", "mean ms", "spread", mode == Mode::unet ? "steps/s" : "pictures/s",
                "deviation");
  return line;
}

std::string table_line(const nlohmann::json& result) {
  const nlohmann::json& latency = result.at("latency_ms");
  const auto of = [&](const char* name) { return latency.at(name).get<double>(); };
  const std::string graph = result.contains("cuda_graph") ? (result.at("cuda_graph").get<bool>() ? "on" : "off") : "-";
  const bool has_steps = result.contains(rate_name(Mode::unet));
  const auto rate = result.at(rate_name(has_steps ? Mode::unet : Mode::trajectory)).get<double>();
  char line[160];
  std::snprintf(line, sizeof line, "%6zu %8zu %6s %10.2f %10.2f %10.2f %10.2f %7.1f%% %12.2f",
                result.at("batch").get<std::size_t>(), result.at("streams").get<std::size_t>(), graph.c_str(),
                of("p50"), of("p90"), of("p99"), of("mean"), 100 * of("spread"), rate);
  std::string text = line;
  if (result.contains("deviation")) {
    std::snprintf(line, sizeof line, " %11.2g", result.at("deviation").get<double>());
    text += line;
  }
  for (const auto& warning : result.at("host_limits")) text += "\n  warning: " + warning.get<std::string>();
  return text;
}

}  // namespace cyto
