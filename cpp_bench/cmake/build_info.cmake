# Writes build_info.cpp. Every build looks up the commit, and the source changes only if the commit changes.
execute_process(
  COMMAND git describe --always --abbrev=40 --exclude=* --dirty
  WORKING_DIRECTORY ${SOURCE}
  OUTPUT_VARIABLE COMMIT
  OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET)
if(NOT COMMIT)
  set(COMMIT unknown)
endif()
configure_file(${SOURCE}/src/build_info.cpp.in ${OUTPUT} @ONLY)
