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
    std::vector<std::string> known;
    for (const auto& [other, _] : manifest.classes) known.push_back(other);
    throw RequestError("The class " + name, "not in the bundle " + manifest.name, "one of " + joined(known),
                       "choose one of these, or add the class to a bundle with `python -m exporter onnx`");
  }
  return entry->second;
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
