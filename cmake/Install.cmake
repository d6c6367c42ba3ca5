# `cmake --install build --prefix DIR`: the program, its man page, the rooms as static libraries with their headers, and
# a CMake package, so that a course project can say
#     find_package(dualvm REQUIRED)
#     target_link_libraries(mine PRIVATE dualvm::machine dualvm::interp)
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(dualvm_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dualvm)

# Target dualvm_NAME of folder ROOM is dualvm::NAME outside.
set(dualvm_rooms
  machine:machine common-devices:devices storage:storage interp:interp kvm-accel:kvm boot:boot study:study)
set(installed_rooms "")
foreach(pair ${dualvm_rooms})
  string(REGEX MATCH "^(.*):(.*)$" _ ${pair})
  set(folder ${CMAKE_MATCH_1})
  set(room ${CMAKE_MATCH_2})
  if(NOT TARGET dualvm_${room})
    continue()
  endif()
  set_target_properties(dualvm_${room} PROPERTIES EXPORT_NAME ${room})
  add_library(dualvm::${room} ALIAS dualvm_${room})
  install(TARGETS dualvm_${room} EXPORT dualvm-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/include)
    install(DIRECTORY ${folder}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
  endif()
  list(APPEND installed_rooms ${room})
endforeach()

install(EXPORT dualvm-targets NAMESPACE dualvm:: DESTINATION ${dualvm_package_dir})
configure_package_config_file(cmake/dualvm-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/dualvm-config.cmake
  INSTALL_DESTINATION ${dualvm_package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/dualvm-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/dualvm-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/dualvm-config-version.cmake
  DESTINATION ${dualvm_package_dir})

if(TARGET dualvm)
  install(TARGETS dualvm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES man/dualvm.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
