// Reading whole files, their SHA-256, and writing files completely or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace cyto {

/// Return the bytes of a regular file of at most `most_bytes`. Throws RequestError with the given fix.
std::string read_file(const std::filesystem::path& path, std::uintmax_t most_bytes, const std::string& fix);

/// Return the SHA-256 in hexadecimal digits.
std::string sha256_of(std::string_view bytes);

/// Return the SHA-256 of a file, which is read in pieces. Throws RequestError if it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

/// Throw RequestError unless the folder of a file that will be written exists.
void expect_folder_of(const std::filesystem::path& path);

/// Write a file beside `path` and rename it. Throws RunError.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// Return the folder `cytosynth/<name>` in the user's cache, as in the engine. Empty if the user has no home folder.
std::filesystem::path cache_folder(const std::string& name);

}  // namespace cyto
