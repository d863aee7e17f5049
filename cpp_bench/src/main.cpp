// cyto_bench: check that the trajectory of a class equals that of the Python engine, then time it.
//
//   cyto_bench --bundle DIR --class NAME --batch 1,8,16 --json FILE
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends.h"
#include "build_info.h"
#include "bundle.h"
#include "error.h"
#include "files.h"
#include "measure.h"
#include "options.h"
#include "record.h"
#include "reference.h"

namespace cyto {
namespace {

/// Return the largest deviation of a timed result. bf16, and float16 in another batch, stay far below 0.1 and 64
/// levels. In 8 bits, rounding in the first steps may lead to another picture of equal quality. Above 0.3 the graph is
/// broken.
double tolerance_of(Precision precision, Mode mode) {
  if (precision == Precision::f32) return tolerance(mode);
  if (mode == Mode::decode) return 64;
  return precision == Precision::int8 ? 0.3 : 0.1;
}

struct Request {
  Bundle bundle;
  Reference reference;
  /// `timed` has other graphs if the precision is int8.
  Task checked, timed;
  std::size_t steps;
};

struct Graphs {
  std::string unet, decoder;
};

/// Return the graphs to time for a precision. Throws RequestError.
Graphs graphs_of(const Bundle& bundle, const ClassEntry& entry, Precision precision) {
  if (precision != Precision::int8) return {entry.unet, bundle.manifest.decoder.front()};
  if (entry.unet_int8.empty() || bundle.manifest.decoder_int8.empty()) {
    throw RequestError("--precision int8", "the bundle " + bundle.manifest.name + ", which has no 8-bit graphs",
                       "a bundle with 8-bit graphs",
                       "add 8-bit graphs with `python -m exporter int8`, or choose another precision");
  }
  return {entry.unet_int8, bundle.manifest.decoder_int8};
}

/// Check everything that can be wrong in a request, before any runtime loads. Throws RequestError.
Request check_request(const Options& options) {
  Bundle bundle = open_bundle(options.bundle);
  if (!options.preset.empty()) bundle = with_preset(std::move(bundle), options.preset, options.class_name);
  const Manifest& manifest = bundle.manifest;
  const ClassEntry& entry = bundle.class_named(options.class_name);
  if (!options.json.empty()) expect_folder_of(options.json);
  const Graphs graphs = graphs_of(bundle, entry, options.precision);
  const std::size_t steps = options.steps.value_or(manifest.num_inference_steps);
  const double guidance_scale = options.guidance_scale.value_or(manifest.guidance_scale);
  const std::size_t least = *std::min_element(options.batches.begin(), options.batches.end());
  const ReferenceKey key{options.class_name, options.backend,
                         manifest.schedule,  steps,
                         guidance_scale,     options.backend == "tensorrt" ? least : 1};
  Reference reference =
      read_reference(options.reference.empty() ? default_reference(bundle, key) : options.reference, bundle, key);
  std::vector<std::string> files = manifest.decoder;
  files.insert(files.end(), {manifest.step, entry.unet, entry.context, graphs.unet, graphs.decoder});
  files.insert(files.end(), entry.weights.begin(), entry.weights.end());
  bundle.verify(files);
  Task task{bundle.path(entry.unet),
            bundle.path(manifest.decoder.front()),
            bundle.path(manifest.step),
            manifest.latents,
            manifest.pixels_per_latent,
            reference.plan,
            guidance_scale,
            manifest.frequencies,
            manifest.context_tokens,
            manifest.context_width,
            bundle.context(options.class_name),
            reference.noise,
            reference.latents,
            manifest.decoder_noise,
            reference.grain};
  Task timed = task;
  timed.unet = bundle.path(graphs.unet);
  timed.decoder = bundle.path(graphs.decoder);
  return {std::move(bundle), std::move(reference), std::move(task), std::move(timed), steps};
}

[[noreturn]] void refuse(const std::string& subject, double found, double allowed, const std::string& fix) {
  throw RunError(subject, "a deviation of " + std::to_string(found) + " from the engine",
                 "at most " + std::to_string(allowed), fix);
}

/// Compare the trajectory, and the decoder if it will be timed, with the reference in the arithmetic of the reference.
nlohmann::json check(const Options& options, const Request& request, Backend& backend) {
  nlohmann::json record = {{"reference_sha256", request.reference.sha256},
                           {"reference_runtime", request.reference.runtime},
                           {"runtime", backend.version()},
                           {"batch", request.reference.batch}};
  std::vector<Mode> modes = {Mode::trajectory};
  if (options.mode == Mode::decode) modes.push_back(Mode::decode);
  for (const Mode mode : modes) {
    const auto workloads = backend.open(request.checked, {mode, request.reference.batch, 1, false});
    workloads.front()->run();
    const double found = deviation(mode, workloads.front()->output(), request.reference);
    if (!(found <= tolerance(mode))) {
      refuse("The check of " + name_of(mode) + ", seed 0", found, tolerance(mode),
             "nothing was timed; write the reference again with `engine reference`, or report this");
    }
    record[name_of(mode)] = {{"deviation", found}, {"tolerance", tolerance(mode)}};
  }
  return record;
}

nlohmann::json time_setting(const Options& options, const Request& request, Backend& backend, const Setting& setting) {
  const Clock::time_point began = Clock::now();
  const auto workloads = backend.open(request.timed, setting);
  const double open_s = 1e-3 * milliseconds(Clock::now() - began);
  const Measured measured = measure(workloads, setting.batch, {options.warmup, options.iterations, options.duration_s});
  double worst = 0;
  for (const auto& workload : workloads) {
    worst = std::max(worst, deviation(setting.mode, workload->output(), request.reference));
  }
  const double allowed = tolerance_of(options.precision, setting.mode);
  if (!(worst <= allowed)) {
    refuse("The timed " + name_of(setting.mode) + " of batch " + std::to_string(setting.batch), worst, allowed,
           "the times of a wrong result mean nothing; try --precision f32, or report this");
  }
  return result_record(setting, backend, measured, open_s, worst);
}

void run(const Options& options) {
  const Request request = check_request(options);
  std::set<std::size_t> sizes(options.batches.begin(), options.batches.end());
  sizes.insert(request.reference.batch);
  const std::vector<std::size_t> batches(sizes.begin(), sizes.end());
  nlohmann::json checked;
  {
    const std::unique_ptr<Backend> exact = open_backend(options, request.bundle, batches, Precision::f32);
    checked = check(options, request, *exact);
  }
  std::cout << "The trajectory of seed 0 equals that of the engine within " << tolerance(Mode::trajectory)
            << ": the deviation is " << checked["trajectory"]["deviation"] << ".\n";
  const std::unique_ptr<Backend> backend = open_backend(options, request.bundle, batches, options.precision);
  std::cout << name_of(options.mode) << " of " << options.class_name << ", " << backend->version() << "\n"
            << table_head(options.mode) << "\n";
  nlohmann::json record = run_record(options, request.bundle, request.timed, *backend);
  record["request"]["sampler"] = request.reference.sampler;
  record["request"]["schedule"] = request.reference.schedule;
  record["request"]["num_inference_steps"] = request.steps;
  record["check"] = checked;
  for (const std::size_t batch : options.batches) {
    for (const bool cuda_graph : backend->has_cuda_graphs() ? options.cuda_graphs : std::vector<bool>{false}) {
      record["results"].push_back(
          time_setting(options, request, *backend, {options.mode, batch, options.streams, cuda_graph}));
      std::cout << table_line(record["results"].back()) << std::endl;
    }
  }
  if (!options.json.empty()) write_file(options.json, record.dump(2) + "\n");
}

}  // namespace
}  // namespace cyto

int main(int count, char** arguments) {
  try {
    const cyto::Options options = cyto::parse_options({arguments + 1, arguments + count}, cyto::built_backends());
    if (options.help || options.version) {
      std::cout << (options.help ? cyto::help_text(cyto::built_backends())
                                 : std::string("cyto_bench ") + cyto::kVersion + ", commit " + cyto::kCommit + "\n");
      return 0;
    }
    cyto::run(options);
    return 0;
  } catch (const cyto::Error& error) {
    std::cerr << "error: " << error.what() << "\n";
    return error.exit_code();
  } catch (const std::exception& error) {
    const cyto::RunError unforeseen("cyto_bench", error.what(), "no failure",
                                    "use a machine with more memory, or report this");
    std::cerr << "error: " << unforeseen.what() << "\n";
    return unforeseen.exit_code();
  }
}
