# cmake --install: headers, libraries, CMake package and pkg-config files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/heed)
install(TARGETS heed EXPORT heed_targets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET heed_command)
  set_target_properties(heed_command PROPERTIES INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR})
endif()
if(NOT TARGET heed_layer)
  set(without_layer PATTERN layer.h EXCLUDE)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/heed DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" ${without_layer})
install(EXPORT heed_targets FILE heed-targets.cmake NAMESPACE heed:: DESTINATION ${package_dir})
# Exported apart, so that heed::heed can be found where OpenBLAS cannot.
if(TARGET heed_layer)
  set_target_properties(heed_layer PROPERTIES INSTALL_RPATH $ORIGIN)
  install(TARGETS heed_layer EXPORT heed_layer_targets
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT heed_layer_targets FILE heed-layer-targets.cmake NAMESPACE heed::
          DESTINATION ${package_dir})
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/heed-config.cmake.in heed-config.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(heed-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/heed-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/heed-config-version.cmake DESTINATION ${package_dir})

# Who links a static heed links oneTBB too, and with its layer OpenBLAS, with or without pkg-config
# --static.
if(BUILD_SHARED_LIBS)
  set(requires Requires.private)
  set(layer_requires "Requires: heed\nRequires.private: openblas")
else()
  set(requires Requires)
  set(layer_requires "Requires: heed openblas")
endif()
# Relative, so that the tree can be installed or moved anywhere.
file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(packages heed)
if(TARGET heed_layer)
  list(APPEND packages heed-layer)
endif()
foreach(package IN LISTS packages)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${package}.pc.in ${package}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${package}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
