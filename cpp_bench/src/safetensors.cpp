#include "safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "error.h"
#include "files.h"
#include "json_field.h"

namespace cyto {
namespace {

constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 30;
constexpr std::size_t kLengthBytes = 8;
const std::map<std::string, std::size_t> kItemBytes = {{"F32", 4}, {"U8", 1}};

std::string shown(const std::vector<std::size_t>& shape) {
  std::vector<std::string> sizes;
  for (const std::size_t size : shape) sizes.push_back(std::to_string(size));
  return "(" + joined(sizes) + ")";
}

/// Return the number of bytes of a tensor. Fails if a file of this size cannot hold the tensor.
std::size_t size_of(const JsonField& field, const std::vector<std::size_t>& shape, std::size_t item_bytes,
                    std::size_t most) {
  std::size_t bytes = item_bytes;
  for (const std::size_t size : shape) {
    if (size != 0 && bytes > most / size) field.fail("a tensor that fits into the file");
    bytes *= size;
  }
  return bytes;
}

}  // namespace

Safetensors read_safetensors(const std::filesystem::path& path, const std::string& fix) {
  return parse_safetensors(read_file(path, kMostBytes, fix), "The file " + path.string(), fix);
}

Safetensors parse_safetensors(std::string content, const std::string& subject, const std::string& fix) {
  const auto fail = [&](const std::string& found, const std::string& expected) {
    throw RequestError(subject, found, expected, fix);
  };
  if (content.size() < kLengthBytes) fail(std::to_string(content.size()) + " bytes", "a safetensors file");
  std::uint64_t header_bytes = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;)
    header_bytes = header_bytes << 8 | static_cast<unsigned char>(content[i]);
  if (header_bytes > content.size() - kLengthBytes) {
    fail("a header of " + std::to_string(header_bytes) + " bytes", "a header that fits into the file");
  }
  Safetensors file;
  const std::size_t start = kLengthBytes + static_cast<std::size_t>(header_bytes);
  const std::size_t data_bytes = content.size() - start;
  const JsonSource source{subject, fix};
  const nlohmann::json header =
      parse_json(std::string_view(content).substr(kLengthBytes, static_cast<std::size_t>(header_bytes)), source);
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (const auto& [name, field] : JsonField(source, "", header).items()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : field.items()) file.metadata_[key] = value.text();
      continue;
    }
    const std::string dtype = field["dtype"].choice({"F32", "U8"});
    std::vector<std::size_t> shape;
    for (const JsonField& size : field["shape"].elements()) {
      shape.push_back(static_cast<std::size_t>(size.whole(0, static_cast<std::int64_t>(data_bytes))));
    }
    const std::vector<JsonField> offsets = field["data_offsets"].elements();
    if (offsets.size() != 2) field["data_offsets"].fail("two offsets");
    const std::int64_t begin = offsets[0].whole(0, static_cast<std::int64_t>(data_bytes));
    const std::int64_t end = offsets[1].whole(begin, static_cast<std::int64_t>(data_bytes));
    if (static_cast<std::size_t>(end - begin) != size_of(field, shape, kItemBytes.at(dtype), data_bytes)) {
      field.fail("offsets that match shape and dtype");
    }
    places.emplace_back(begin, end);
    file.entries_[name] = {dtype, shape, start + static_cast<std::size_t>(begin),
                           start + static_cast<std::size_t>(end)};
  }
  std::sort(places.begin(), places.end());
  std::size_t reached = 0;
  for (const auto& [begin, end] : places) {
    if (begin != reached) fail("tensors that overlap or leave gaps", "contiguous tensors");
    reached = end;
  }
  if (reached != data_bytes)
    fail(std::to_string(data_bytes - reached) + " bytes that belong to no tensor", "no such bytes");
  file.subject_ = subject;
  file.fix_ = fix;
  file.sha256_ = sha256_of(content);
  file.content_ = std::move(content);
  return file;
}

const char* Safetensors::find(const std::string& name, const std::string& dtype, const std::vector<std::size_t>& shape,
                              std::size_t& size_bytes) const {
  const auto entry = entries_.find(name);
  if (entry == entries_.end() || entry->second.dtype != dtype || entry->second.shape != shape) {
    const std::string found = entry == entries_.end() ? "none" : entry->second.dtype + " " + shown(entry->second.shape);
    throw RequestError(subject_ + ", tensor " + name, found, dtype + " " + shown(shape), fix_);
  }
  size_bytes = entry->second.end - entry->second.begin;
  return content_.data() + entry->second.begin;
}

std::vector<float> Safetensors::floats(const std::string& name, const std::vector<std::size_t>& shape) const {
  std::size_t size_bytes = 0;
  const char* data = find(name, "F32", shape, size_bytes);
  std::vector<float> values(size_bytes / sizeof(float));
  // The header may have any length, so the values may be unaligned.
  std::memcpy(values.data(), data, size_bytes);
  return values;
}

std::vector<std::uint8_t> Safetensors::bytes(const std::string& name, const std::vector<std::size_t>& shape) const {
  std::size_t size_bytes = 0;
  const char* data = find(name, "U8", shape, size_bytes);
  return {data, data + size_bytes};
}

}  // namespace cyto
