// Files whole in memory, their SHA-256, and files that are written whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace cyto {

/// The bytes of a regular file of at most `most_bytes`. Throws RequestError with the fix given.
std::string read_file(const std::filesystem::path& path, std::uintmax_t most_bytes, const std::string& fix);

/// SHA-256 in hexadecimal digits.
std::string sha256_of(std::string_view bytes);

/// SHA-256 of a file's content, read in pieces. Throws RequestError where it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

/// Throws RequestError unless the folder of a file that will be written is there.
void expect_folder_of(const std::filesystem::path& path);

/// Write beside `path` and rename. Throws RunError.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// The folder `cytosynth/<name>` in the user's cache, as the engine chooses it; empty where there is no home.
std::filesystem::path cache_folder(const std::string& name);

}  // namespace cyto
