#include "files.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>

#include "error.h"

namespace cyto {
namespace fs = std::filesystem;

namespace {

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    expect(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void update(std::string_view bytes) { expect(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1); }

  std::string hexadecimal() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    expect(EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1);
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (unsigned int i = 0; i < size; ++i) {
      text += digits[digest[i] >> 4];
      text += digits[digest[i] & 15];
    }
    return text;
  }

 private:
  static void expect(bool success) {
    if (!success) throw RunError("SHA-256 of OpenSSL", "a failure", "success", "check the configuration of OpenSSL");
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::ifstream open_to_read(const fs::path& path, const std::string& fix) {
  std::error_code unknown;
  const fs::file_status status = fs::status(path, unknown);
  if (!fs::is_regular_file(status)) {
    const char* found = fs::exists(status) ? "not a regular file" : "no such file";
    throw RequestError("The file " + path.string(), found, "a file", fix);
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw RequestError("The file " + path.string(), std::strerror(errno), "a file that can be read", fix);
  return file;
}

}  // namespace

std::string read_file(const fs::path& path, std::uintmax_t most_bytes, const std::string& fix) {
  std::ifstream file = open_to_read(path, fix);
  std::error_code problem;
  const std::uintmax_t size = fs::file_size(path, problem);
  if (problem || size > most_bytes) {
    const std::string found = problem ? problem.message() : std::to_string(size) + " bytes";
    throw RequestError("The file " + path.string(), found, "at most " + std::to_string(most_bytes) + " bytes", fix);
  }
  std::string bytes(size, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<std::uintmax_t>(file.gcount()) != size) {
    throw RequestError("The file " + path.string(), std::to_string(file.gcount()) + " bytes",
                       std::to_string(size) + " bytes", fix);
  }
  return bytes;
}

std::string sha256_of(std::string_view bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.hexadecimal();
}

std::string sha256_of_file(const fs::path& path) {
  std::ifstream file = open_to_read(path, "check the path and its permissions");
  Sha256 digest;
  std::string piece(std::size_t{1} << 20, '\0');
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    digest.update(std::string_view(piece.data(), static_cast<std::size_t>(file.gcount())));
  }
  return digest.hexadecimal();
}

void expect_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code unknown;
  if (!fs::is_directory(folder, unknown)) {
    throw RequestError("The file " + path.string(), "no folder " + folder.string(), "an existing folder",
                       "create the folder");
  }
}

void write_file(const fs::path& path, std::string_view bytes) {
  const fs::path part = path.string() + ".part";
  errno = 0;
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  std::error_code problem;
  if (file) fs::rename(part, path, problem);
  if (!file || problem) {
    const std::string found = problem ? problem.message() : std::strerror(errno);
    std::error_code ignored;
    fs::remove(part, ignored);
    throw RunError("The file " + path.string(), found, "free space and permission to write",
                   "free some space or name another file");
  }
}

fs::path cache_folder(const std::string& name) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return fs::path(cache) / "cytosynth" / name;
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home != '\0') return fs::path(home) / ".cache" / "cytosynth" / name;
  return {};
}

}  // namespace cyto
