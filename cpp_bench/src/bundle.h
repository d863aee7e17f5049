// Bundles on disk. Files are checked by size and SHA-256 before they are opened.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "manifest.h"

namespace cyto {

/// A folder and its checked manifest. `sha256` is the hash of the manifest, which holds the hash of every file.
struct Bundle {
  std::filesystem::path folder;
  Manifest manifest;
  std::string sha256;
  /// Name of the preset whose settings and UNets the manifest has in place of the defaults. Empty without a preset.
  std::string preset{};

  std::filesystem::path path(const std::string& name) const { return folder / name; }

  /// Return the class. Throws RequestError that names the existing classes.
  const ClassEntry& class_named(const std::string& name) const;

  /// Check size and SHA-256 of the named files. Throws RequestError for the first file that differs.
  void verify(const std::vector<std::string>& names) const;

  /// Return the prompt embeddings of a class, conditional first: (2, tokens, width) float32. Throws RequestError.
  std::vector<float> context(const std::string& class_name) const;
};

/// Return the bundle with the settings of a preset as its defaults, and with the preset's UNet of a class. Throws
/// RequestError that names the existing presets, or the classes of which the preset has a UNet.
Bundle with_preset(Bundle bundle, const std::string& name, const std::string& class_name);

/// Open a bundle. Only the manifest is read. Throws RequestError.
Bundle open_bundle(const std::filesystem::path& folder);

}  // namespace cyto
