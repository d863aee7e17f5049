// Test helpers: expectations that report their place, and named cases.
#pragma once

#include <cmath>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "error.h"

namespace cyto::test {

inline int failures = 0;

inline void expect(bool good, const std::string& what, const char* file, int line) {
  if (good) return;
  ++failures;
  std::cerr << file << ":" << line << ": " << what << "\n";
}

inline bool close(double found, double wanted, double relative) {
  return std::abs(found - wanted) <= relative * std::max(1.0, std::abs(wanted));
}

/// Return the text of the RequestError that is thrown. Empty if nothing is thrown.
inline std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const RequestError& error) {
    return error.what();
  }
  return "";
}

inline bool has(const std::string& text, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (text.find(word) == std::string::npos) return false;
  }
  return true;
}

}  // namespace cyto::test

#define EXPECT(condition) cyto::test::expect(condition, "expected " #condition, __FILE__, __LINE__)
#define EXPECT_CLOSE(found, wanted, relative)                                                                  \
  cyto::test::expect(cyto::test::close(found, wanted, relative),                                               \
                     #found " is " + std::to_string(found) + ", expected " + std::to_string(wanted), __FILE__, \
                     __LINE__)
#define EXPECT_REFUSED(statement, ...)                                                                         \
  do {                                                                                                         \
    const std::string words = cyto::test::refusal([&] { statement; });                                         \
    cyto::test::expect(cyto::test::has(words, {__VA_ARGS__}) && !words.empty(), #statement " says:\n" + words, \
                       __FILE__, __LINE__);                                                                    \
  } while (false)
