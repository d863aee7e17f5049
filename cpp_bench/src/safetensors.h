// Safetensors: an 8-byte little-endian length, a JSON header of this length, then the bytes of the tensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cyto {

/// A file in memory with a checked header: every tensor lies inside the file, and no two tensors overlap.
class Safetensors {
 public:
  /// Return a tensor as float32. Throws RequestError unless it exists with this shape and type F32.
  std::vector<float> floats(const std::string& name, const std::vector<std::size_t>& shape) const;

  /// Return a tensor of type U8, checked in the same way.
  std::vector<std::uint8_t> bytes(const std::string& name, const std::vector<std::size_t>& shape) const;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// SHA-256 of the whole file.
  const std::string& sha256() const { return sha256_; }

 private:
  friend Safetensors parse_safetensors(std::string content, const std::string& subject, const std::string& fix);

  struct Entry {
    std::string dtype;
    std::vector<std::size_t> shape;
    std::size_t begin, end;
  };

  const char* find(const std::string& name, const std::string& dtype, const std::vector<std::size_t>& shape,
                   std::size_t& size_bytes) const;

  std::string subject_, fix_, content_, sha256_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Return the file. Throws RequestError with the given fix.
Safetensors read_safetensors(const std::filesystem::path& path, const std::string& fix);

/// Return the file with these bytes. `subject` names it in errors.
Safetensors parse_safetensors(std::string content, const std::string& subject, const std::string& fix);

}  // namespace cyto
