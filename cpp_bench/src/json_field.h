// A JSON value of an untrusted file, its place there, and the checks that it must pass.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cyto {

/// Whose value it is, for errors: "The manifest .../manifest.json", and how the file is fixed.
struct JsonSource {
  std::string subject;
  std::string fix;
};

/// Parse text. Throws RequestError.
nlohmann::json parse_json(std::string_view text, const JsonSource& source);

/// Every check throws RequestError that names the file, the field, what was found and what was expected. The value and
/// the source must outlive the field.
class JsonField {
 public:
  JsonField(const JsonSource& source, std::string path, const nlohmann::json& value)
      : source_(&source), path_(std::move(path)), value_(&value) {}

  /// A member of an object.
  JsonField operator[](const std::string& name) const;
  bool has(const std::string& name) const;
  std::vector<std::pair<std::string, JsonField>> items() const;
  /// The elements of a list that is not empty.
  std::vector<JsonField> elements() const;
  /// Not empty, and without control characters.
  std::string text() const;
  std::string choice(const std::vector<std::string>& allowed) const;
  std::string sha256() const;
  std::int64_t whole(std::int64_t low, std::int64_t high) const;
  double number(double low, double high) const;

  [[noreturn]] void fail(const std::string& expected) const;

 private:
  [[noreturn]] void fail_with(const std::string& found, const std::string& path, const std::string& expected) const;

  const JsonSource* source_;
  std::string path_;
  const nlohmann::json* value_;
};

/// Only plain names: a file that names another must not reach other folders.
bool is_plain_file_name(std::string_view name);

/// "a, b, c"
std::string joined(const std::vector<std::string>& words, const std::string& between = ", ");

}  // namespace cyto
