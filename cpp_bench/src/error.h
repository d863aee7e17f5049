// Errors that name the subject, what was found, what was expected, and the fix, like those of the engine.
#pragma once

#include <stdexcept>
#include <string>

namespace cyto {

class Error : public std::runtime_error {
 public:
  Error(int exit_code, const std::string& subject, const std::string& found, const std::string& expected,
        const std::string& fix)
      : std::runtime_error(subject + "\n  found:    " + found + "\n  expected: " + expected + "\n  fix:      " + fix),
        exit_code_(exit_code) {}

  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// A wrong request. Nothing was loaded.
class RequestError : public Error {
 public:
  RequestError(const std::string& subject, const std::string& found, const std::string& expected,
               const std::string& fix)
      : Error(2, subject, found, expected, fix) {}
};

/// A failure while running.
class RunError : public Error {
 public:
  RunError(const std::string& subject, const std::string& found, const std::string& expected, const std::string& fix)
      : Error(1, subject, found, expected, fix) {}
};

}  // namespace cyto
