# Writes OUT, a C file: the commit that SOURCE is a checkout of, with -dirty where files differ from it; "" where it is no
# checkout or there is no git. What is right already stays untouched.
cmake_minimum_required(VERSION 3.18)
find_program(GIT git)
set(commit "")
set(top "")
if(GIT)
  execute_process(COMMAND ${GIT} rev-parse --show-toplevel WORKING_DIRECTORY ${SOURCE}
    OUTPUT_VARIABLE top OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
get_filename_component(source "${SOURCE}" REALPATH)
if(top STREQUAL source) # not of a repository that merely holds it
  execute_process(COMMAND ${CMAKE_COMMAND} -E env GIT_OPTIONAL_LOCKS=0
    ${GIT} describe --always --dirty --abbrev=12 --exclude=* WORKING_DIRECTORY ${SOURCE}
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#include \"runtime/cmd_version.h\"\nconst char version_commit[] = \"@commit@\";\n" @ONLY)
