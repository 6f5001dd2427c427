# cmake --install: headers, libraries, the command, licences, CMake package and pkg-config files. Its
# components are the Debian packages of cmake/packages.cmake, and `python`.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# heed_install_rpath(<target> <folder>): the target, installed in that folder, finds the shared
# libraries, wherever the tree is moved. An absolute library folder does not move with it.
function(heed_install_rpath target folder)
  if(NOT BUILD_SHARED_LIBS)
    return()
  endif()
  if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(rpath ${CMAKE_INSTALL_LIBDIR})
  else()
    cmake_path(ABSOLUTE_PATH folder BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX})
    file(RELATIVE_PATH up ${folder} ${CMAKE_INSTALL_FULL_LIBDIR})
    set(rpath $ORIGIN/${up})
  endif()
  set_target_properties(${target} PROPERTIES INSTALL_RPATH ${rpath})
endfunction()

# heed_install_library(<target> <export> <component>): a shared library in this component, what is
# linked against it, and a static library, in libheed-dev.
function(heed_install_library target export component)
  install(TARGETS ${target} EXPORT ${export}
          ARCHIVE COMPONENT libheed-dev
          LIBRARY COMPONENT ${component} NAMELINK_COMPONENT libheed-dev
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endfunction()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/heed)
set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
heed_install_library(heed heed_targets libheed${soversion})
if(NOT TARGET heed_layer)
  set(without_layer PATTERN layer.h EXCLUDE)
endif()
if(NOT TARGET heed_c)
  set(without_c PATTERN heed_c.h EXCLUDE PATTERN c EXCLUDE)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/heed DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        COMPONENT libheed-dev FILES_MATCHING PATTERN "*.h" ${without_layer} ${without_c})
install(EXPORT heed_targets FILE heed-targets.cmake NAMESPACE heed:: DESTINATION ${package_dir}
        COMPONENT libheed-dev)
# Exported apart, so that heed::heed can be found where OpenBLAS cannot.
if(TARGET heed_layer)
  heed_install_rpath(heed_layer ${CMAKE_INSTALL_LIBDIR})
  heed_install_library(heed_layer heed_layer_targets libheed-layer${soversion})
  install(EXPORT heed_layer_targets FILE heed-layer-targets.cmake NAMESPACE heed::
          DESTINATION ${package_dir} COMPONENT libheed-dev)
endif()
# Exported apart, because they need nothing of heed::heed.
foreach(name IN ITEMS c layer_c)
  if(TARGET heed_${name})
    string(REPLACE _ - words ${name})
    heed_install_library(heed_${name} heed_${name}_targets libheed-${words}1)
    install(EXPORT heed_${name}_targets FILE heed-${words}-targets.cmake NAMESPACE heed::
            DESTINATION ${package_dir} COMPONENT libheed-dev)
  endif()
endforeach()
# The package for Python, where Debian's Python looks below /usr: python3-heed takes the library of
# libheed-c1, and cmake --install … --component python puts the library into the package.
if(TARGET heed_c)
  set(python_dir lib/python3/dist-packages/heed)
  foreach(component IN ITEMS python python3-heed)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/bindings/python/heed/ DESTINATION ${python_dir}
            COMPONENT ${component} EXCLUDE_FROM_ALL
            FILES_MATCHING PATTERN "*.py" PATTERN py.typed PATTERN __pycache__ EXCLUDE)
  endforeach()
  install(FILES $<TARGET_FILE:heed_c> DESTINATION ${python_dir} COMPONENT python EXCLUDE_FROM_ALL)
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES
          DESTINATION ${python_dir} COMPONENT python EXCLUDE_FROM_ALL)
endif()
if(TARGET heed_command)
  heed_install_rpath(heed_command ${CMAKE_INSTALL_BINDIR})
  install(TARGETS heed_command COMPONENT heed)
endif()
if(TARGET heed_generate)
  set(programs ${CMAKE_INSTALL_LIBEXECDIR}/heed)
  heed_install_rpath(heed_generate ${programs})
  install(TARGETS heed_generate DESTINATION ${programs} COMPONENT heed-generate)
endif()
if(TARGET ggml-heed)
  set(plugins ${CMAKE_INSTALL_LIBDIR}/heed)
  heed_install_rpath(ggml-heed ${plugins})
  install(TARGETS ggml-heed LIBRARY DESTINATION ${plugins} COMPONENT ggml-heed)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES
        DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/heed)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/heed-config.cmake.in heed-config.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(heed-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/heed-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/heed-config-version.cmake
        DESTINATION ${package_dir} COMPONENT libheed-dev)

# Who links a static heed links what its threads need, and with its layer OpenBLAS, with or without pkg-config
# --static. What a shared one needs is its own affair: pkg-config asks for a package's
# Requires.private whenever it is asked for flags.
if(HEED_THREADS STREQUAL tbb)
  set(threads_libs "-ltbb ")
  set(threads_requires "Requires: tbb\n")
elseif(HEED_THREADS STREQUAL std)
  set(threads_libs "-pthread ")
  set(threads_link " -pthread")
endif()
if(BUILD_SHARED_LIBS)
  set(links "Libs.private: ${threads_libs}\nLibs: -L\${libdir} -lheed")
  set(layer_links "Requires: heed\nLibs.private: -lopenblas\nLibs: -L\${libdir} -lheed_layer")
else()
  set(links "${threads_requires}Libs: -L\${libdir} -lheed -Wl,-z,nodelete${threads_link}")
  set(layer_links "Requires: heed openblas\nLibs: -L\${libdir} -lheed_layer")
  set(flags " -DHEED_STATIC")
endif()
# Relative to the package's file, so that the tree can be installed or moved anywhere; an absolute
# folder stays where it is.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  set(prefix \${pcfiledir}/${up})
endif()
foreach(dir IN ITEMS LIBDIR INCLUDEDIR)
  string(TOLOWER ${dir} name)
  cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_${dir} BASE_DIRECTORY "\${prefix}" OUTPUT_VARIABLE ${name})
endforeach()
set(packages heed)
if(TARGET heed_layer)
  list(APPEND packages heed-layer)
endif()
if(TARGET heed_c)
  list(APPEND packages heed_c)
endif()
if(TARGET heed_layer_c)
  list(APPEND packages heed_layer_c)
endif()
foreach(package IN LISTS packages)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${package}.pc.in ${package}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${package}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libheed-dev)
endforeach()
