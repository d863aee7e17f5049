# Writes build_info.h: the commit is looked up at every build, and the header changes only when it does.
execute_process(
  COMMAND git describe --always --abbrev=40 --exclude=* --dirty
  WORKING_DIRECTORY ${SOURCE}
  OUTPUT_VARIABLE COMMIT
  OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET)
if(NOT COMMIT)
  set(COMMIT unknown)
endif()
configure_file(${SOURCE}/src/build_info.h.in ${OUTPUT} @ONLY)
