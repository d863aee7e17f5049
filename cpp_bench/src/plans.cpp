#include "plans.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "error.h"
#include "files.h"
#include "json_field.h"

namespace cyto {
namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kRecordBytes = std::uintmax_t{16} << 20;
constexpr std::uintmax_t kPlanBytes = std::uintmax_t{1} << 40;
constexpr std::int64_t kMost = std::int64_t{1} << 48;
const char* const kRebuild =
    "build the plan again: `python -m exporter tensorrt BUNDLE`, with --gpu and --flavour as in the folder name";

std::size_t size_of(const JsonField& field) { return static_cast<std::size_t>(field.whole(1, kMost)); }

Plan plan_of(const JsonField& field) {
  Plan plan{field["file"].text(), field["sha256"].sha256(), size_of(field["bytes"]), field["graph_sha256"].sha256()};
  if (!is_plain_file_name(plan.file)) field["file"].fail("a plain file name without folders");
  return plan;
}

std::vector<fs::path> plan_records(const fs::path& bundle) {
  std::vector<fs::path> found;
  std::error_code absent;
  for (const fs::directory_entry& folder : fs::directory_iterator(bundle / "plans", absent)) {
    const fs::path record = folder.path() / "plan.json";
    if (fs::exists(record)) found.push_back(record);
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// Return the files of each graph that a class runs, by the name of the graph.
std::map<std::string, std::vector<std::string>> graphs_of(const Bundle& bundle, const std::string& class_name) {
  const ClassEntry& entry = bundle.class_named(class_name);
  std::vector<std::string> unet = {entry.unet};
  unet.insert(unet.end(), entry.weights.begin(), entry.weights.end());
  return {{bundle.manifest.decoder.front(), bundle.manifest.decoder},
          {bundle.manifest.step, {bundle.manifest.step}},
          {entry.unet, unet}};
}

std::vector<std::string> differences(const Bundle& bundle, const PlanFolder& folder, const PlanRequest& request) {
  std::vector<std::string> found;
  const auto compare = [&](const std::string& name, const std::string& has, const std::string& here) {
    if (has != here) found.push_back(name + " " + has + ", here " + here);
  };
  compare("flavour", folder.flavour, request.flavour);
  compare("version", folder.version, request.version);
  compare("compute capability", folder.compute_capability, request.compute_capability);
  const auto [least, most] = std::minmax_element(folder.batch_sizes.begin(), folder.batch_sizes.end());
  for (const std::size_t batch : request.batches) {
    if (batch < *least || batch > *most) {
      found.push_back("batch sizes " + std::to_string(*least) + " to " + std::to_string(*most) + ", requested " +
                      std::to_string(batch));
    }
  }
  const Manifest& manifest = bundle.manifest;
  const auto pixels = [](std::size_t width, std::size_t height) {
    return std::to_string(width) + " x " + std::to_string(height);
  };
  compare("pixels", pixels(folder.width, folder.height),
          pixels(manifest.latents.width * manifest.pixels_per_latent,
                 manifest.latents.height * manifest.pixels_per_latent));
  for (const auto& [graph, files] : graphs_of(bundle, request.class_name)) {
    const auto plan = folder.plans.find(graph);
    if (plan == folder.plans.end()) {
      found.push_back("no plan for " + graph);
    } else if (plan->second.graph_sha256 != graph_digest(bundle, files)) {
      found.push_back(graph + " has changed since the plan was built");
    }
  }
  return found;
}

}  // namespace

std::string PlanFolder::open(const std::string& graph) const {
  const Plan& plan = plans.at(graph);
  const fs::path path = folder / plan.file;
  std::string content = read_file(path, kPlanBytes, kRebuild);
  const std::string digest = sha256_of(content);
  if (content.size() != plan.size_bytes || digest != plan.sha256) {
    throw RequestError("The plan " + path.string(), std::to_string(content.size()) + " bytes, SHA-256 " + digest,
                       std::to_string(plan.size_bytes) + " bytes, " + plan.sha256, kRebuild);
  }
  return content;
}

PlanFolder read_plan_folder(const fs::path& path) {
  const JsonSource source{"The record of plans " + path.string(), kRebuild};
  const nlohmann::json json = parse_json(read_file(path, kRecordBytes, kRebuild), source);
  const JsonField top(source, "", json);
  top["format_version"].whole(1, 1);
  PlanFolder found{path.parent_path(),
                   top["flavour"].choice({"rtx", "tensorrt"}),
                   top["version"].text(),
                   top["compute_capability"].text(),
                   {},
                   size_of(top["width"]),
                   size_of(top["height"]),
                   {}};
  for (const JsonField& size : top["batch_sizes"].elements()) found.batch_sizes.push_back(size_of(size));
  for (const auto& [graph, plan] : top["plans"].items()) found.plans[graph] = plan_of(plan);
  return found;
}

std::string graph_digest(const Bundle& bundle, const std::vector<std::string>& files) {
  std::string hashes;
  for (const std::string& name : files) hashes += bundle.manifest.files.at(name).sha256;
  return sha256_of(hashes);
}

PlanFolder choose_plans(const Bundle& bundle, const PlanRequest& request) {
  std::string reasons;
  for (const fs::path& record : plan_records(bundle.folder)) {
    PlanFolder folder = read_plan_folder(record);
    const std::vector<std::string> differs = differences(bundle, folder, request);
    if (differs.empty()) return folder;
    reasons += (reasons.empty() ? "" : "; ") + folder.folder.filename().string() + " (" + joined(differs) + ")";
  }
  std::string gpu = request.compute_capability;
  gpu.erase(std::remove(gpu.begin(), gpu.end(), '.'), gpu.end());
  std::string command =
      "python -m exporter tensorrt " + bundle.folder.string() + " --gpu sm" + gpu + " --flavour " + request.flavour;
  std::vector<std::string> sizes;
  for (const std::size_t batch : request.batches) sizes.push_back(std::to_string(batch));
  command += " --batch " + joined(sizes, ",");
  if (!bundle.preset.empty()) command += " --preset " + bundle.preset;
  throw RequestError("TensorRT plans of the bundle " + bundle.manifest.name, reasons.empty() ? "none" : reasons,
                     "plans built by " + request.flavour + " " + request.version + " for sm" + gpu, command);
}

}  // namespace cyto
