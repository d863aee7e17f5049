// Bundles on disk: their files are checked by size and SHA-256 before anything opens them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "manifest.h"

namespace cyto {

/// A folder and its checked manifest; `sha256` is the manifest's, which holds the hash of every file.
struct Bundle {
  std::filesystem::path folder;
  Manifest manifest;
  std::string sha256;

  std::filesystem::path path(const std::string& name) const { return folder / name; }

  /// The class, or RequestError that names those there are.
  const ClassEntry& class_named(const std::string& name) const;

  /// Check size and SHA-256 of the named files. Throws RequestError for the first that differs.
  void verify(const std::vector<std::string>& names) const;

  /// A class's prompt embeddings, conditional first: (2, tokens, width) float32. Throws RequestError.
  std::vector<float> context(const std::string& class_name) const;
};

/// Reads only the manifest. Throws RequestError.
Bundle open_bundle(const std::filesystem::path& folder);

}  // namespace cyto
