#include "manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "json_field.h"

namespace cyto {
namespace {

/// The newest version that this program reads. Version 1 has no `decoder_noise`. Version 3 has UNets of presets,
/// and version 4 their small decoders.
constexpr std::int64_t kFormatVersion = 4;

std::size_t size_of(const JsonField& field, std::int64_t most) {
  return static_cast<std::size_t>(field.whole(1, most));
}

/// Return whether a name may become part of file names.
bool is_class_name(const std::string& name) {
  const auto letter_or_digit = [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  return !name.empty() && name.size() <= 64 && letter_or_digit(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(),
                     [&](unsigned char c) { return letter_or_digit(c) || c == '_' || c == '-'; });
}

std::string file_name(const JsonField& field, const std::map<std::string, FileEntry>& files) {
  if (files.count(field.text()) == 0) field.fail("a name that is listed under files");
  return field.text();
}

/// Return the file name of an optional member, or an empty text.
std::string file_name_or_none(const JsonField& object, const char* member,
                              const std::map<std::string, FileEntry>& files) {
  return object.has(member) ? file_name(object[member], files) : "";
}

std::vector<std::string> file_names(const JsonField& field, const std::map<std::string, FileEntry>& files) {
  std::vector<std::string> names;
  for (const JsonField& name : field.elements()) names.push_back(file_name(name, files));
  return names;
}

std::map<std::string, FileEntry> files_of(const JsonField& field) {
  std::map<std::string, FileEntry> files;
  for (const auto& [name, entry] : field.items()) {
    if (!is_plain_file_name(name)) entry.fail("a plain file name without folders");
    files[name] = {entry["sha256"].sha256(),
                   static_cast<std::uint64_t>(entry["bytes"].whole(0, std::int64_t{1} << 48))};
  }
  return files;
}

DecoderNoise decoder_noise_of(const JsonField& top) {
  if (!top.has("decoder_noise")) return {};
  const JsonField field = top["decoder_noise"];
  if (top["format_version"].whole(1, kFormatVersion) == 1) field.fail("no such field in version 1 of the format");
  return {size_of(field["planes"], 4096), size_of(field["scale"], 64)};
}

UnetFiles unet_of(const JsonField& entry, const std::map<std::string, FileEntry>& files) {
  return {file_name(entry["unet"], files), file_name_or_none(entry, "unet_int8", files),
          file_names(entry["weights"], files)};
}

std::map<std::string, PresetEntry> presets_of(const JsonField& top, const std::map<std::string, FileEntry>& files) {
  std::map<std::string, PresetEntry> presets;
  if (!top.has("presets")) return presets;
  for (const auto& [name, entry] : top["presets"].items()) {
    if (!is_class_name(name)) entry.fail("a preset name of at most 64 letters, digits, _ and -");
    if (!entry.has("table")) continue;
    std::vector<double> scales;
    for (const JsonField& row : entry["table"].elements()) scales.push_back(row["guidance_scale"].number(0, 100));
    const bool same = std::all_of(scales.begin(), scales.end(), [&](double scale) { return scale == scales.front(); });
    if (!same) continue;
    PresetEntry preset{scales.size(), scales.front(), {}, {}, file_name_or_none(entry, "decoder_int8", files)};
    if (entry.has("unets")) {
      for (const auto& [class_name, unet] : entry["unets"].items()) preset.unets[class_name] = unet_of(unet, files);
    }
    if (entry.has("decoder")) preset.decoder = file_names(entry["decoder"], files);
    presets[name] = preset;
  }
  return presets;
}

/// Check that the model is one whose table the engine can compute.
void check_schedule(const JsonField& schedule) {
  schedule["kind"].choice({"scaled_linear"});
  schedule["prediction_type"].choice({"epsilon"});
  schedule["beta_start"].number(1e-6, schedule["beta_end"].number(1e-6, 0.5));
  schedule["num_train_timesteps"].whole(2, 100'000);
}

}  // namespace

Manifest parse_manifest(const std::string& text, const std::filesystem::path& path) {
  const JsonSource source{"The manifest " + path.string(), "export the bundle again"};
  const nlohmann::json json = parse_json(text, source);
  const JsonField top(source, "", json);
  top["format_version"].whole(1, kFormatVersion);
  const std::map<std::string, FileEntry> files = files_of(top["files"]);
  const JsonField latents = top["latents"], context = top["context"], defaults = top["defaults"];
  top["time_features"]["order"].choice({"cos_sin"});
  std::vector<double> frequencies;
  for (const JsonField& frequency : top["time_features"]["frequencies"].elements()) {
    frequencies.push_back(frequency.number(0, 1e6));
  }
  std::map<std::string, ClassEntry> classes;
  for (const auto& [name, entry] : top["classes"].items()) {
    if (!is_class_name(name)) entry.fail("a class name of at most 64 letters, digits, _ and -");
    classes[name] = {unet_of(entry, files), file_name(entry["context"], files)};
  }
  check_schedule(top["schedule"]);
  const std::string own = defaults["schedule"].text();
  return Manifest{
      top["name"].text(),
      {size_of(latents["channels"], 256), size_of(latents["height"], 4096), size_of(latents["width"], 4096)},
      size_of(latents["pixels_per_latent"], 64),
      size_of(context["tokens"], 4096),
      size_of(context["width"], 65536),
      frequencies,
      defaults["sampler"].text() == "dpmpp_2m" ? own : "karras",
      size_of(defaults["num_inference_steps"], 1000),
      defaults["guidance_scale"].number(0, 100),
      file_names(top["decoder"], files),
      file_name_or_none(top, "decoder_int8", files),
      decoder_noise_of(top),
      top.has("decoder_jpeg"),
      file_name(top["step"], files),
      classes,
      presets_of(top, files),
      files,
  };
}

}  // namespace cyto
