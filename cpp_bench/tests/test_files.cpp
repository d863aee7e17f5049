// Input from disk and command line: valid input is read, damaged input is refused with the field and the fix.
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "check.h"
#include "files.h"
#include "manifest.h"
#include "options.h"
#include "reference.h"
#include "safetensors.h"
#include "tests.h"

namespace {

using cyto::test::has;
using nlohmann::json;

const std::string kDigest(64, 'a');

json good_manifest() {
  json files;
  for (const char* name : {"unet.a.onnx", "unet.bin", "context.a.safetensors", "decoder.onnx", "step.onnx"}) {
    files[name] = {{"sha256", kDigest}, {"bytes", 3}};
  }
  return {
      {"format_version", 1},
      {"name", "cells"},
      {"files", files},
      {"latents", {{"channels", 12}, {"height", 8}, {"width", 16}, {"multiple", 2}, {"pixels_per_latent", 8}}},
      {"context", {{"tokens", 4}, {"width", 6}}},
      {"time_features", {{"order", "cos_sin"}, {"frequencies", {1.0, 0.5}}}},
      {"schedule",
       {{"kind", "scaled_linear"},
        {"prediction_type", "epsilon"},
        {"beta_start", 0.00085},
        {"beta_end", 0.012},
        {"num_train_timesteps", 1000}}},
      {"defaults",
       {{"sampler", "dpmpp_2m"}, {"schedule", "normal"}, {"num_inference_steps", 20}, {"guidance_scale", 7}}},
      {"decoder", {"decoder.onnx"}},
      {"step", "step.onnx"},
      {"classes", {{"a", {{"unet", "unet.a.onnx"}, {"weights", {"unet.bin"}}, {"context", "context.a.safetensors"}}}}},
  };
}

cyto::Manifest parse(const json& manifest) { return cyto::parse_manifest(manifest.dump(), "some/manifest.json"); }

json changed(const std::string& pointer, const json& value) {
  json manifest = good_manifest();
  manifest[json::json_pointer(pointer)] = value;
  return manifest;
}

void test_manifest() {
  const cyto::Manifest found = parse(good_manifest());
  EXPECT(found.latents.size() == 12 * 8 * 16 && found.guidance_scale == 7 && found.num_inference_steps == 20);
  EXPECT(found.schedule == "normal");
  EXPECT(found.classes.at("a").weights == std::vector<std::string>{"unet.bin"});
  // karras, the native schedule of DPM++ 2M, if the sampler of the bundle is another.
  EXPECT(parse(changed("/defaults/sampler", "euler")).schedule == "karras");

  EXPECT(parse(good_manifest()).classes.at("a").unet_int8.empty());
  json quantised = good_manifest();
  quantised["classes"]["a"]["unet_int8"] = quantised["decoder_int8"] = "unet.bin";
  EXPECT(parse(quantised).classes.at("a").unet_int8 == "unet.bin" && parse(quantised).decoder_int8 == "unet.bin");

  json small =
      changed("/presets/turbo", {{"table", {{{"guidance_scale", 1}}}}, {"decoder", {"decoder.onnx", "unet.bin"}}});
  EXPECT(parse(small).presets.at("turbo").decoder == (std::vector<std::string>{"decoder.onnx", "unet.bin"}));
  EXPECT(parse(small).presets.at("turbo").decoder_int8.empty());
  small["presets"]["turbo"]["decoder_int8"] = "absent.onnx";
  EXPECT_REFUSED(parse(small), "some/manifest.json", "presets.turbo.decoder_int8", "export the bundle again");

  EXPECT(parse(good_manifest()).decoder_noise.planes == 0);
  json stochastic = changed("/decoder_noise", {{"planes", 7}, {"scale", 2}});
  stochastic["format_version"] = 2;
  EXPECT(parse(stochastic).decoder_noise.planes == 7 && parse(stochastic).decoder_noise.scale == 2);
  stochastic["decoder_noise"]["planes"] = 0;
  EXPECT_REFUSED(parse(stochastic), "some/manifest.json", "decoder_noise.planes", "export the bundle again");

  const std::vector<std::pair<std::string, json>> wrong = {
      {"/format_version", 5},
      {"/decoder_noise", {{"planes", 7}, {"scale", 2}}},
      {"/name", "line\nbreak"},
      {"/latents/channels", 0},
      {"/latents/height", 8.5},
      {"/latents/width", std::numeric_limits<std::uint64_t>::max()},
      {"/context/tokens", true},
      {"/schedule/kind", "cosine"},
      {"/schedule/beta_start", 0.5},
      {"/schedule/num_train_timesteps", 1},
      {"/time_features/frequencies", json::array()},
      {"/time_features/frequencies/1", "0.5"},
      {"/defaults/guidance_scale", -1},
      {"/defaults/sampler", 7},
      {"/decoder", "decoder.onnx"},
      {"/step", "absent.onnx"},
      {"/classes/a/unet", 7},
      {"/classes/a/unet_int8", "absent.onnx"},
      {"/decoder_int8", 7},
      {"/classes/a", json::array({1})},
      {"/files/unet.bin/sha256", "zz"},
      {"/files/unet.bin/bytes", -1},
  };
  for (const auto& [pointer, value] : wrong) {
    std::string field = pointer.substr(1);
    for (char& c : field) c = c == '/' ? '.' : c;
    if (field.find("frequencies.1") != std::string::npos) field = "time_features.frequencies[1]";
    EXPECT_REFUSED(parse(changed(pointer, value)), "some/manifest.json", field, "found:", "expected:", "export");
  }
  json without = good_manifest();
  without["schedule"].erase("beta_end");
  EXPECT_REFUSED(parse(without), "schedule.beta_end", "the field is missing");
  for (const char* name : {"../unet.bin", "/etc/passwd", "..", "a\\b", "C:x", "", "new\nline"}) {
    json manifest = good_manifest();
    manifest["files"][name] = {{"sha256", kDigest}, {"bytes", 3}};
    EXPECT_REFUSED(parse(manifest), "a plain file name");
  }
  json escape = good_manifest();
  escape["files"]["\x1b[2J"] = {{"sha256", kDigest}, {"bytes", 3}};
  EXPECT_REFUSED(parse(escape), "files.?[2J");
  for (const char* name : {"../a", "", "a b", "-a"}) {
    json manifest = good_manifest();
    manifest["classes"][name] = manifest["classes"]["a"];
    EXPECT_REFUSED(parse(manifest), "a class name of");
  }
  const std::string nested(100'000, '[');
  for (const std::string& text : {std::string("{"), std::string("\xff"), std::string("[]"), nested}) {
    EXPECT_REFUSED(cyto::parse_manifest(text, "some/manifest.json"), "some/manifest.json", "export the bundle again");
  }
}

std::string with_length(const std::string& header, const std::string& data) {
  std::string content(8, '\0');
  const std::uint64_t size = header.size();
  for (std::size_t i = 0; i < 8; ++i) content[i] = static_cast<char>(size >> (8 * i) & 255);
  return content + header + data;
}

cyto::Safetensors tensors(const std::string& header, const std::string& data) {
  return cyto::parse_safetensors(with_length(header, data), "The file x", "export it");
}

void test_safetensors() {
  const std::vector<float> values = {1.5F, -2.0F};
  std::string data(8, '\0');
  std::memcpy(data.data(), values.data(), 8);
  // The spaces move the values to an odd address.
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]},)"
      R"("__metadata__":{"seed":"0"}}  )";
  const cyto::Safetensors found = tensors(header, data + "\x01\x02\xff");
  EXPECT(found.floats("a", {2, 1}) == values);
  EXPECT((found.bytes("b", {3}) == std::vector<std::uint8_t>{1, 2, 255}));
  EXPECT(found.metadata().at("seed") == "0");
  EXPECT_REFUSED(found.floats("a", {1, 2}), "tensor a", "(2, 1)", "(1, 2)", "export it");
  EXPECT_REFUSED(found.floats("b", {3}), "tensor b", "U8");
  EXPECT_REFUSED(found.floats("c", {3}), "tensor c", "none");

  const auto entry = [](const std::string& rest) { return "{\"a\":{" + rest + "}}"; };
  const std::vector<std::string> wrong = {
      entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,16])"),
      entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"),
      entry(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])"),
      entry(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"),
      entry(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"),
      entry(R"("dtype":"F32","shape":[8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8,8],"data_offsets":[0,8])"),
      entry(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"),
      entry(R"("dtype":"F16","shape":[4],"data_offsets":[0,8])"),
      entry(R"("dtype":"F32","shape":[2],"data_offsets":[0])"),
      entry(R"("dtype":"F32","data_offsets":[0,8])"),
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
      R"({"__metadata__":{"seed":0}})",
      "[]",
      "not JSON",
  };
  for (const std::string& text : wrong) EXPECT_REFUSED(tensors(text, data), "The file x", "export it");
  const std::string whole = with_length(header, data + "abc");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_REFUSED(cyto::parse_safetensors(whole.substr(0, size), "The file x", "export it"), "The file x");
  }
  EXPECT_REFUSED(cyto::parse_safetensors(std::string(8, '\xff') + "{}", "The file x", "export it"), "a header of");
}

void test_sha256() {
  // The example of FIPS 180-2.
  EXPECT(cyto::sha256_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

void test_options() {
  const std::vector<std::string> both = {"openvino", "tensorrt"};
  const std::vector<std::string> given = {"--bundle", "b", "--class=a", "--batch", "1,8,16"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = given;
    all.insert(all.end(), more.begin(), more.end());
    return cyto::parse_options(all, both);
  };
  const cyto::Options found = with({"--guidance-scale", "2.5", "--mode", "decode", "--iterations=7"});
  EXPECT((found.batches == std::vector<std::size_t>{1, 8, 16}) && found.class_name == "a" &&
         found.guidance_scale == 2.5);
  EXPECT(found.mode == cyto::Mode::decode && found.iterations == 7 && found.backend == "openvino" &&
         found.precision == cyto::Precision::automatic);
  EXPECT(with({"--precision", "int8"}).precision == cyto::Precision::int8);
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--steps", "0"}, "--steps"},
      {{"--steps", "1e3"}, "--steps"},
      {{"--steps", "99999999999999999999"}, "--steps"},
      {{"--guidance-scale", "nan"}, "--guidance-scale"},
      {{"--guidance-scale", "2x"}, "--guidance-scale"},
      {{"--duration", "-1"}, "--duration"},
      {{"--duration", "1", "--iterations", "2"}, "--duration and --iterations"},
      {{"--mode", "train"}, "decode, trajectory, unet"},
      {{"--precision", "int4"}, "auto, f32, int8"},
      {{"--backend", "cudnn"}, "openvino, tensorrt"},
      {{"--backend", "tensorrt", "--threads", "2"}, "--threads"},
      {{"--backend", "tensorrt", "--precision", "f32"}, "--precision"},
      {{"--cuda-graph", "on"}, "the backend tensorrt"},
      {{"--class", "b"}, "given twice"},
      {{"--bacth", "1"}, "The option --bacth"},
      {{"--json"}, "--json"},
      {{"--json="}, "--json"},
  };
  for (const auto& [more, word] : wrong) EXPECT_REFUSED(with(more), word, "found:", "fix:");
  EXPECT_REFUSED(cyto::parse_options({"--bundle", "b", "--class", "a"}, both), "--batch", "not given");
  EXPECT_REFUSED(cyto::parse_options({"--bundle", "b", "--class", "a", "--batch", "1,,2"}, both), "--batch", "nothing");
  EXPECT_REFUSED(cyto::parse_options({"--backend", "tensorrt"}, {"openvino"}), "TENSORRT_ROOT");
}

void test_deviation() {
  const cyto::Reference reference{{}, {3, 4}, {}, {10, 200}, 1, "", "", "", "", {}};
  using cyto::Mode;
  EXPECT(cyto::deviation(Mode::trajectory, {{3, 4, 3, 4}, {}}, reference) == 0);
  // The worst picture counts: (0, 0.5) of a norm of 5.
  EXPECT_CLOSE(cyto::deviation(Mode::trajectory, {{3, 4, 3, 4.5}, {}}, reference), 0.1, 1e-12);
  EXPECT(std::isinf(cyto::deviation(Mode::trajectory, {{3, std::nanf("")}, {}}, reference)));
  EXPECT(cyto::deviation(Mode::decode, {{}, {10, 200, 13, 200}}, reference) == 3);
  EXPECT(std::isinf(cyto::deviation(Mode::decode, {{}, {10, 200}, false}, reference)));
  // With blocks of JPEG, 1 % of the bytes of a picture may differ more.
  const cyto::Reference blocks{{}, {}, {}, std::vector<std::uint8_t>(200, 100), 1, "", "", "", "", {}, true};
  std::vector<std::uint8_t> pictures(400, 101);
  pictures[0] = pictures[1] = pictures[300] = 150;
  EXPECT(cyto::deviation(Mode::decode, {{}, pictures}, blocks) == 1);
  pictures[2] = 110;
  EXPECT(cyto::deviation(Mode::decode, {{}, pictures}, blocks) == 10);
  EXPECT(cyto::deviation(Mode::unet, {{1}, {}}, reference) == 0);
  EXPECT(std::isinf(cyto::deviation(Mode::unet, {{INFINITY}, {}}, reference)));
}

}  // namespace

void cyto::test::test_files() {
  test_manifest();
  test_safetensors();
  test_sha256();
  test_options();
  test_deviation();
}
