// What the build knows of the program. The values have their own source, so that a commit compiles only that again.
#pragma once

namespace cyto {

extern const char* const kVersion;
extern const char* const kCommit;
extern const char* const kCompiler;
extern const char* const kBuildType;

}  // namespace cyto
