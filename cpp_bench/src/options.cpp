#include "options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>

#include "error.h"
#include "json_field.h"

namespace cyto {
namespace {

constexpr std::size_t kMostBatch = 4096, kMostThreads = 4096, kMostIterations = 1'000'000;
const std::map<std::string, Mode> kModes = {
    {"unet", Mode::unet}, {"decode", Mode::decode}, {"trajectory", Mode::trajectory}};
const std::map<std::string, Precision> kPrecisions = {
    {"auto", Precision::automatic}, {"f32", Precision::f32}, {"int8", Precision::int8}};

[[noreturn]] void fail(const std::string& flag, const std::string& found, const std::string& expected) {
  throw RequestError(flag, found.empty() ? "nothing" : found, expected, "change the value; see cyto_bench --help");
}

std::size_t whole(const std::string& flag, const std::string& text, std::size_t low, std::size_t high) {
  const std::string expected = "a whole number in " + std::to_string(low) + ".." + std::to_string(high);
  const bool digits = !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) fail(flag, text, expected);
  const std::size_t value = std::stoul(text);
  if (value < low || value > high) fail(flag, text, expected);
  return value;
}

double number(const std::string& flag, const std::string& text, double low, double high) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  std::ostringstream expected;
  expected << "a number in " << low << ".." << high;
  // NaN fails every comparison.
  if (text.empty() || *end != '\0' || !(value >= low && value <= high)) fail(flag, text, expected.str());
  return value;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text + ",");
  for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
  return words;
}

template <typename Value>
Value choice(const std::string& flag, const std::string& text, const std::map<std::string, Value>& allowed) {
  const auto found = allowed.find(text);
  if (found == allowed.end()) {
    std::vector<std::string> names;
    for (const auto& [name, _] : allowed) names.push_back(name);
    fail(flag, text, "one of " + joined(names));
  }
  return found->second;
}

template <typename Value>
std::string name_in(const std::map<std::string, Value>& names, Value value) {
  return std::find_if(names.begin(), names.end(), [&](const auto& named) { return named.second == value; })->first;
}

using Setter = std::function<void(Options&, const std::string& flag, const std::string& value)>;

struct Option {
  std::string flag, value, words;
  Setter set;
};

std::vector<Option> all_options(const std::vector<std::string>& backends) {
  const std::map<std::string, std::vector<bool>> graphs = {{"both", {false, true}}, {"off", {false}}, {"on", {true}}};
  return {
      {"--bundle", "DIR", "folder of the bundle", [](Options& o, auto&, auto& v) { o.bundle = v; }},
      {"--class", "NAME", "class of the bundle", [](Options& o, auto&, auto& v) { o.class_name = v; }},
      {"--mode", "MODE", "what to time: unet, decode or trajectory (default)",
       [](Options& o, auto& f, auto& v) { o.mode = choice(f, v, kModes); }},
      {"--batch", "N,N", "batch sizes, separated by commas; each size is timed",
       [](Options& o, auto& f, auto& v) {
         for (const std::string& word : split(v)) o.batches.push_back(whole(f, word, 1, kMostBatch));
       }},
      {"--json", "FILE", "file for the record with the raw samples", [](Options& o, auto&, auto& v) { o.json = v; }},
      {"--backend", "NAME", "runtime; built in: " + joined(backends),
       [backends](Options& o, auto& f, auto& v) {
         if (std::find(backends.begin(), backends.end(), v) == backends.end()) {
           throw RequestError(f, v, "a backend that is built in: " + joined(backends),
                              v == "tensorrt" ? "build with make cpp-bench TENSORRT_ROOT=..." : "choose one of these");
         }
         o.backend = v;
       }},
      {"--precision", "P", "for openvino: auto (bf16 if the processor supports it), f32 or int8",
       [](Options& o, auto& f, auto& v) { o.precision = choice(f, v, kPrecisions); }},
      {"--threads", "N", "processor threads for openvino (default: every core)",
       [](Options& o, auto& f, auto& v) { o.threads = whole(f, v, 1, kMostThreads); }},
      {"--streams", "N", "batches in flight at the same time (default: 1)",
       [](Options& o, auto& f, auto& v) { o.streams = whole(f, v, 1, kMostThreads); }},
      {"--cuda-graph", "G", "for tensorrt: on, off or both (default)",
       [graphs](Options& o, auto& f, auto& v) { o.cuda_graphs = choice(f, v, graphs); }},
      {"--preset", "NAME", "preset of the bundle with a learned table, for example turbo",
       [](Options& o, auto&, auto& v) { o.preset = v; }},
      {"--steps", "N", "number of sampling steps (default: from the bundle)",
       [](Options& o, auto& f, auto& v) { o.steps = whole(f, v, 1, 100'000); }},
      {"--guidance-scale", "G", "guidance scale; 1 is no guidance (default: from the bundle)",
       [](Options& o, auto& f, auto& v) { o.guidance_scale = number(f, v, 0, 100); }},
      {"--warmup", "N", "iterations before the timed ones (default: 2)",
       [](Options& o, auto& f, auto& v) { o.warmup = whole(f, v, 0, kMostIterations); }},
      {"--duration", "S", "seconds per batch size (default: 5)",
       [](Options& o, auto& f, auto& v) { o.duration_s = number(f, v, 0, 86'400); }},
      {"--iterations", "N", "timed iterations per stream, instead of --duration",
       [](Options& o, auto& f, auto& v) { o.iterations = whole(f, v, 1, kMostIterations); }},
      {"--reference", "FILE", "file that `engine reference` wrote (default: from the user's cache)",
       [](Options& o, auto&, auto& v) { o.reference = v; }},
  };
}

void check_together(const Options& options, const std::vector<std::string>& seen) {
  const auto given = [&](const std::string& flag) { return std::find(seen.begin(), seen.end(), flag) != seen.end(); };
  for (const char* flag : {"--bundle", "--class", "--batch"}) {
    if (!given(flag)) throw RequestError(flag, "not given", "a value", "add the option; see cyto_bench --help");
  }
  if (given("--duration") && given("--iterations")) {
    throw RequestError("--duration and --iterations", "both", "one of these options", "leave out one option");
  }
  for (const char* flag : {"--steps", "--guidance-scale"}) {
    if (given("--preset") && given(flag)) {
      throw RequestError("--preset " + options.preset, std::string(flag) + ", too",
                         "a preset alone, because its table states both", std::string("leave out ") + flag);
    }
  }
  const std::map<std::string, std::string> owners = {
      {"--precision", "openvino"}, {"--threads", "openvino"}, {"--cuda-graph", "tensorrt"}};
  for (const auto& [flag, owner] : owners) {
    if (given(flag) && options.backend != owner) {
      throw RequestError(flag, "the backend " + options.backend, "the backend " + owner,
                         "leave out the option, or choose the backend " + owner);
    }
  }
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments, const std::vector<std::string>& backends) {
  const std::vector<Option> known = all_options(backends);
  Options options;
  options.backend = backends.empty() ? "" : backends.front();
  options.cuda_graphs = {false, true};
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::size_t equals = arguments[i].find('=');
    const std::string flag = arguments[i].substr(0, equals);
    if (flag == "--help" || flag == "--version") {
      (flag == "--help" ? options.help : options.version) = true;
      return options;
    }
    const auto option = std::find_if(known.begin(), known.end(), [&](const Option& o) { return o.flag == flag; });
    if (option == known.end()) {
      throw RequestError("The option " + flag, "unknown", "an option that cyto_bench --help lists",
                         "check the spelling");
    }
    if (std::find(seen.begin(), seen.end(), flag) != seen.end()) {
      throw RequestError(flag, "given twice", "given once", "leave out one of the two");
    }
    if (equals == std::string::npos && i + 1 == arguments.size()) fail(flag, "", option->value);
    const std::string value = equals == std::string::npos ? arguments[++i] : arguments[i].substr(equals + 1);
    if (value.empty()) fail(flag, "", option->value);
    option->set(options, flag, value);
    seen.push_back(flag);
  }
  check_together(options, seen);
  return options;
}

std::string help_text(const std::vector<std::string>& backends) {
  std::ostringstream text;
  text << "cyto_bench: check that the pictures of a class equal those of the engine, then measure how fast they are "
          "made.\n\n"
          "  cyto_bench --bundle DIR --class NAME --batch 1,8,16 --json FILE\n\n";
  for (const Option& option : all_options(backends)) {
    std::string flag = option.flag + " " + option.value;
    flag.resize(22, ' ');
    text << "  " << flag << option.words << "\n";
  }
  text << "\nExit codes: 0 success, 1 failure while running, 2 wrong request. See docs/reference/cpp_bench.md.\n";
  return text.str();
}

std::string name_of(Mode mode) { return name_in(kModes, mode); }

std::string name_of(Precision precision) { return name_in(kPrecisions, precision); }

}  // namespace cyto
