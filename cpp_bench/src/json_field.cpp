#include "json_field.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "error.h"

namespace cyto {
namespace {

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_printable(std::string_view text) { return std::none_of(text.begin(), text.end(), is_control); }

}  // namespace

std::string shown(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

nlohmann::json parse_json(std::string_view text, const JsonSource& source) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw RequestError(source.subject, std::string("unreadable (") + error.what() + ")", "JSON", source.fix);
  }
}

void JsonField::fail(const std::string& expected) const {
  std::string found = value_->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (found.size() > 80) found = found.substr(0, 77) + "...";
  fail_with(found, path_, expected);
}

void JsonField::fail_with(const std::string& found, const std::string& path, const std::string& expected) const {
  // Control characters in a name of the file could command a terminal.
  std::string shown_path = path.empty() ? "(top)" : path.substr(0, 200);
  std::replace_if(shown_path.begin(), shown_path.end(), is_control, '?');
  throw RequestError(source_->subject + ", field " + shown_path, found, expected, source_->fix);
}

JsonField JsonField::operator[](const std::string& name) const {
  if (!value_->is_object()) fail("an object");
  const std::string path = path_.empty() ? name : path_ + "." + name;
  const auto member = value_->find(name);
  if (member == value_->end()) fail_with("nothing", path, "a value (the field is missing)");
  return {*source_, path, *member};
}

bool JsonField::has(const std::string& name) const { return value_->is_object() && value_->contains(name); }

std::vector<std::pair<std::string, JsonField>> JsonField::items() const {
  if (!value_->is_object()) fail("an object");
  std::vector<std::pair<std::string, JsonField>> found;
  for (const auto& member : value_->items()) found.emplace_back(member.key(), (*this)[member.key()]);
  return found;
}

std::vector<JsonField> JsonField::elements() const {
  if (!value_->is_array() || value_->empty()) fail("a list that is not empty");
  std::vector<JsonField> found;
  for (std::size_t i = 0; i < value_->size(); ++i) {
    found.emplace_back(*source_, path_ + "[" + std::to_string(i) + "]", (*value_)[i]);
  }
  return found;
}

std::string JsonField::text() const {
  if (!value_->is_string()) fail("printable text");
  const auto& text = value_->get_ref<const std::string&>();
  if (text.empty() || !is_printable(text)) fail("printable text");
  return text;
}

std::string JsonField::choice(const std::vector<std::string>& allowed) const {
  if (std::find(allowed.begin(), allowed.end(), text()) == allowed.end()) fail("one of " + joined(allowed));
  return text();
}

std::string JsonField::sha256() const {
  const std::string digits = text();
  if (digits.size() != 64 || digits.find_first_not_of("0123456789abcdef") != std::string::npos) {
    fail("64 hexadecimal digits");
  }
  return digits;
}

std::int64_t JsonField::whole(std::int64_t low, std::int64_t high) const {
  const std::string expected = "a whole number in " + std::to_string(low) + ".." + std::to_string(high);
  if (!value_->is_number_integer()) fail(expected);
  // An unsigned number beyond int64 would wrap.
  const bool huge = value_->is_number_unsigned() &&
                    value_->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (huge) fail(expected);
  const auto value = value_->get<std::int64_t>();
  if (value < low || value > high) fail(expected);
  return value;
}

double JsonField::number(double low, double high) const {
  const bool good = value_->is_number() && value_->get<double>() >= low && value_->get<double>() <= high;
  if (!good) fail("a number in [" + shown(low) + ", " + shown(high) + "]");
  return value_->get<double>();
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 && is_printable(name) &&
         name.find_first_of("/\\:") == std::string_view::npos && name != "." && name != "..";
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

}  // namespace cyto
