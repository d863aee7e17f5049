// Runs one of the tests: cyto_tests NAME. One program for all of them is compiled in half the time.
#include <iostream>
#include <map>
#include <string>

#include "check.h"
#include "tests.h"

int main(int count, char** arguments) {
  const std::map<std::string, void (*)()> tests = {{"table", cyto::test::test_table},
                                                   {"files", cyto::test::test_files},
                                                   {"statistics", cyto::test::test_statistics},
#ifdef CYTO_WITH_OPENVINO
                                                   {"group_norm", cyto::test::test_group_norm}
#endif
  };
  const auto test = tests.find(count == 2 ? arguments[1] : "");
  if (test == tests.end()) {
    std::cerr << "name one of the tests in cpp_bench/tests/CMakeLists.txt\n";
    return 2;
  }
  test->second();
  return cyto::test::failures == 0 ? 0 : 1;
}
