// Safetensors: an 8-byte little-endian length, a JSON header of so many bytes, then the tensors' bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cyto {

/// A file in memory whose header was checked against its size: every tensor lies inside, and none overlaps another.
class Safetensors {
 public:
  /// A tensor as float32. Throws RequestError unless it is there with this shape and type F32.
  std::vector<float> floats(const std::string& name, const std::vector<std::size_t>& shape) const;

  /// The same for type U8.
  std::vector<std::uint8_t> bytes(const std::string& name, const std::vector<std::size_t>& shape) const;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// Of the whole file.
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

/// Throws RequestError with the fix given.
Safetensors read_safetensors(const std::filesystem::path& path, const std::string& fix);

/// The same from a file's bytes; `subject` names it in errors.
Safetensors parse_safetensors(std::string content, const std::string& subject, const std::string& fix);

}  // namespace cyto
