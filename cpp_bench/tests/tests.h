// The tests, one function per file. Each counts its failures (check.h).
#pragma once

namespace cyto::test {

void test_table();
void test_files();
void test_statistics();
void test_group_norm();

}  // namespace cyto::test
