# Warnings, sanitizers and optimisation, the same for every room.
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

# dualvm_room(NAME SOURCES...): a static library of one room, public headers in its include/ folder.
function(dualvm_room name)
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
                                            $<INSTALL_INTERFACE:include>)
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:dualvm_options>)
endfunction()
