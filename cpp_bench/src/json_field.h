// A JSON value of an untrusted file, its place in the file, and the checks that it must pass.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cyto {

/// The file of a value, for errors: its name, such as "The manifest .../manifest.json", and how to fix it.
struct JsonSource {
  std::string subject;
  std::string fix;
};

/// Return the parsed text. Throws RequestError.
nlohmann::json parse_json(std::string_view text, const JsonSource& source);

/// A field. Every check throws RequestError that names the file, the field, what was found and what was expected. The
/// value and the source must outlive the field.
class JsonField {
 public:
  JsonField(const JsonSource& source, std::string path, const nlohmann::json& value)
      : source_(&source), path_(std::move(path)), value_(&value) {}

  /// Return a member of an object.
  JsonField operator[](const std::string& name) const;
  bool has(const std::string& name) const;
  std::vector<std::pair<std::string, JsonField>> items() const;
  /// Return the elements of a list, which must not be empty.
  std::vector<JsonField> elements() const;
  /// Return text, which must not be empty or contain control characters.
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

/// Return whether a name is plain, so that a file that names another file cannot reach other folders.
bool is_plain_file_name(std::string_view name);

/// Return a number in its short form, for example "0.5".
std::string shown(double value);

/// Return the words with commas between them: "a, b, c".
std::string joined(const std::vector<std::string>& words, const std::string& between = ", ");

}  // namespace cyto
