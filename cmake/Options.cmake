# Warnings, sanitizers, fuzzing and optimisation, the same for every room.
add_library(dualvm_options INTERFACE)
target_compile_options(dualvm_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual)
if(DUALVM_WERROR)
  target_compile_options(dualvm_options INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  # -O2 also turns on the sibling calls that threaded dispatch lives on.
  set(CMAKE_CXX_FLAGS_RELEASE "-O2")
  set(CMAKE_C_FLAGS_RELEASE "-O2")
endif()
if(DUALVM_SANITIZE)
  target_compile_options(dualvm_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(dualvm_options INTERFACE -fsanitize=address,undefined)
endif()
if(DUALVM_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "DUALVM_FUZZ needs clang, whose libFuzzer it uses: configure with -DCMAKE_CXX_COMPILER=clang++")
  endif()
  # Coverage feedback in every room; the fuzzer's main() only in what dualvm_fuzz() makes.
  target_compile_options(dualvm_options INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(dualvm_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Compiling a file that was compiled before costs nothing with ccache.
find_program(DUALVM_CCACHE ccache)
if(DUALVM_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${DUALVM_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${DUALVM_CCACHE})
endif()

# dualvm_room(NAME SOURCES...): a static library of one room, public headers in its include/ folder.
function(dualvm_room name)
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
                                            $<INSTALL_INTERFACE:include>)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:dualvm_options>)
endfunction()

# dualvm_fuzz(NAME SOURCES ... LIBS ...): one libFuzzer program, build-fuzz/NAME; nothing without -DDUALVM_FUZZ=ON.
# NAME starts with fuzz_: `./dev fuzz-targets` builds and runs everything called so.
function(dualvm_fuzz name)
  if(NOT DUALVM_FUZZ)
    return()
  endif()
  cmake_parse_arguments(F "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${F_SOURCES})
  target_link_libraries(${name} PRIVATE dualvm_options ${F_LIBS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endfunction()
