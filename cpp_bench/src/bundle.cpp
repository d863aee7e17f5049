#include "bundle.h"

#include "error.h"
#include "files.h"
#include "json_field.h"
#include "safetensors.h"

namespace cyto {
namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kManifestBytes = std::uintmax_t{64} << 20;
constexpr const char* kDamaged = "the file is damaged or was changed; copy or export the bundle again";

template <typename Value>
std::string names_of(const std::map<std::string, Value>& entries) {
  std::vector<std::string> names;
  for (const auto& [name, _] : entries) names.push_back(name);
  return names.empty() ? "none" : joined(names);
}

}  // namespace

Bundle open_bundle(const fs::path& folder) {
  std::error_code unknown;
  if (!fs::is_directory(folder, unknown)) {
    throw RequestError("The bundle " + folder.string(), "no such folder", "a bundle's folder", "check the path");
  }
  const fs::path path = folder / "manifest.json";
  const std::string text =
      read_file(path, kManifestBytes, "pass a folder that `python -m exporter onnx` wrote to --bundle");
  return {folder, parse_manifest(text, path), sha256_of(text)};
}

const ClassEntry& Bundle::class_named(const std::string& name) const {
  const auto entry = manifest.classes.find(name);
  if (entry == manifest.classes.end()) {
    throw RequestError("The class " + name, "not in the bundle " + manifest.name,
                       "one of " + names_of(manifest.classes),
                       "choose one of these, or add the class to a bundle with `python -m exporter onnx`");
  }
  return entry->second;
}

Bundle with_preset(Bundle bundle, const std::string& name, const std::string& class_name) {
  Manifest& manifest = bundle.manifest;
  const auto preset = manifest.presets.find(name);
  if (preset == manifest.presets.end()) {
    throw RequestError("--preset", name,
                       "a preset with a learned table and one guidance scale, which the bundle " + manifest.name +
                           " has: " + names_of(manifest.presets),
                       "choose one of these, or leave out the option");
  }
  bundle.class_named(class_name);
  const PresetEntry& entry = preset->second;
  if (!entry.unets.empty()) {
    const auto unet = entry.unets.find(class_name);
    if (unet == entry.unets.end()) {
      throw RequestError("--preset " + name, "the class " + class_name + ", of which this preset has no UNet",
                         "one of " + names_of(entry.unets), "choose one of these classes");
    }
    static_cast<UnetFiles&>(manifest.classes.at(class_name)) = unet->second;
  }
  if (!entry.decoder.empty()) {
    manifest.decoder = entry.decoder;
    manifest.decoder_int8 = entry.decoder_int8;
  }
  manifest.num_inference_steps = entry.num_inference_steps;
  manifest.guidance_scale = entry.guidance_scale;
  bundle.preset = name;
  return bundle;
}

void Bundle::verify(const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    const FileEntry& expected = manifest.files.at(name);
    const fs::path file = path(name);
    const auto fail = [&](const std::string& found, const std::string& wanted) {
      throw RequestError("The bundle's file " + file.string(), found, wanted, kDamaged);
    };
    std::error_code problem;
    const fs::file_status status = fs::symlink_status(file, problem);
    if (!fs::is_regular_file(status)) {
      fail(fs::is_symlink(status) ? "a link"
           : fs::exists(status)   ? "not a regular file"
                                  : "no such file",
           "a regular file");
    }
    const std::uintmax_t size = fs::file_size(file, problem);
    if (problem || size != expected.size_bytes) {
      fail(problem ? problem.message() : std::to_string(size) + " bytes",
           std::to_string(expected.size_bytes) + " bytes");
    }
    const std::string digest = sha256_of_file(file);
    if (digest != expected.sha256) fail("SHA-256 " + digest, "SHA-256 " + expected.sha256);
  }
}

std::vector<float> Bundle::context(const std::string& class_name) const {
  const Safetensors stored = read_safetensors(path(class_named(class_name).context), "export the bundle again");
  const std::vector<std::size_t> shape = {manifest.context_tokens, manifest.context_width};
  std::vector<float> both = stored.floats("cond", shape);
  const std::vector<float> unconditional = stored.floats("uncond", shape);
  both.insert(both.end(), unconditional.begin(), unconditional.end());
  return both;
}

}  // namespace cyto
