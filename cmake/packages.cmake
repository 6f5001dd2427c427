# cpack: a Debian package of each component that cmake/install.cmake has, where Debian's tools are. They
# belong below /usr, as the preset `package` configures.
find_program(HEED_SHLIBDEPS dpkg-shlibdeps DOC "Finds what Debian packages depend on (dpkg-dev)")
find_program(HEED_FILE file DOC "Tells CPack which files are programs")
if(NOT HEED_SHLIBDEPS OR NOT HEED_FILE)
  message(STATUS "No dpkg-shlibdeps or no file: no Debian packages")
  return()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_SOURCE_GENERATOR "")
set(CPACK_PACKAGE_CONTACT "The heed project")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/package_folders.cmake)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SOURCE heed)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# Where the packages of one build find each other's shared libraries.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/runtime
    ${PROJECT_BINARY_DIR}/runtime/layer)
set(CPACK_COMPONENTS_ALL "")

# heed_package(<name> SECTION <section> SUMMARY <line> DESCRIPTION <lines> [ARCHITECTURE <architecture>]
#              [DEPENDS <packages>] [RECOMMENDS <packages>] [SUGGESTS <packages>] [SCRIPTS <file>...]):
# the component <name> as a package, with the licences. Packages that its programs load libraries of are
# found, and need not be named; the lists of others are as Debian writes them.
function(heed_package name)
  set(fields SECTION SUMMARY DESCRIPTION ARCHITECTURE DEPENDS RECOMMENDS SUGGESTS)
  cmake_parse_arguments(arg "" "${fields}" SCRIPTS ${ARGN})
  string(TOUPPER ${name} component)
  set(CPACK_DEBIAN_${component}_PACKAGE_NAME ${name} PARENT_SCOPE)
  set(CPACK_DEBIAN_${component}_DESCRIPTION "${arg_SUMMARY}\n${arg_DESCRIPTION}" PARENT_SCOPE)
  foreach(field IN ITEMS SECTION ARCHITECTURE DEPENDS RECOMMENDS SUGGESTS)
    if(arg_${field})
      set(CPACK_DEBIAN_${component}_PACKAGE_${field} "${arg_${field}}" PARENT_SCOPE)
    endif()
  endforeach()
  if(arg_SCRIPTS)
    set(CPACK_DEBIAN_${component}_PACKAGE_CONTROL_EXTRA ${arg_SCRIPTS} PARENT_SCOPE)
  endif()
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${name} PARENT_SCOPE)
  set(documents ${CMAKE_INSTALL_DATAROOTDIR}/doc/${name})
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${documents} RENAME copyright
          COMPONENT ${name} EXCLUDE_FROM_ALL)
  install(FILES ${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES DESTINATION ${documents}
          COMPONENT ${name} EXCLUDE_FROM_ALL)
endfunction()

set(same "(= ${PROJECT_VERSION})")
if(BUILD_SHARED_LIBS)
  heed_package(libheed${soversion} SECTION libs
               SUMMARY "multi-head attention for CPUs - C++ library"
               DESCRIPTION "What programs in C++ that use a shared heed need to run.")
  set(library "libheed${soversion} ${same}")
  set(libraries ${library})
  if(TARGET heed_layer)
    heed_package(libheed-layer${soversion} SECTION libs
                 SUMMARY "multi-head attention for CPUs - attention layer"
                 DESCRIPTION "What programs that use heed's attention layer, on OpenBLAS, need to run."
                 DEPENDS "${library}")
    set(layer "libheed-layer${soversion} ${same}")
    list(APPEND libraries ${layer})
  endif()
elseif(HEED_THREADS STREQUAL tbb)
  set(libraries "libtbb-dev (>= 2021)")  # what a static heed links
endif()
if(TARGET heed_c)
  heed_package(libheed-c1 SECTION libs
               SUMMARY "multi-head attention for CPUs - C library"
               DESCRIPTION "What programs need to run that use heed by its interface for C.")
  list(APPEND libraries "libheed-c1 ${same}")
  heed_package(python3-heed SECTION python ARCHITECTURE all
               SUMMARY "multi-head attention for CPUs - Python module"
               DESCRIPTION "Attention, caches, softmax and sampling on NumPy arrays and PyTorch tensors."
               DEPENDS "python3:any (>= 3.9), libheed-c1 (>= ${PROJECT_VERSION})"
               SUGGESTS "python3-numpy, python3-torch, libheed-layer-c1"
               SCRIPTS ${PROJECT_SOURCE_DIR}/bindings/python/debian/postinst
                       ${PROJECT_SOURCE_DIR}/bindings/python/debian/prerm)
endif()
if(TARGET heed_layer_c)
  heed_package(libheed-layer-c1 SECTION libs
               SUMMARY "multi-head attention for CPUs - C library with a layer"
               DESCRIPTION "What libheed-c1 has and an attention layer, on OpenBLAS, by the interface for C.")
  list(APPEND libraries "libheed-layer-c1 ${same}")
endif()
if(TARGET ggml-heed)
  heed_package(ggml-heed SECTION libs
               SUMMARY "multi-head attention for CPUs - plug-in for llama.cpp"
               DESCRIPTION "Attention for llama.cpp's ggml, for the version that it was built for.")
endif()
if(TARGET heed_layer)
  set(openblas RECOMMENDS libopenblas-dev)  # which only heed::layer needs
endif()
list(JOIN libraries ", " libraries)
heed_package(libheed-dev SECTION libdevel
             SUMMARY "multi-head attention for CPUs - development files"
             DESCRIPTION "Headers for C++ and C, libraries, and what CMake and pkg-config read."
             DEPENDS "${libraries}" ${openblas})
if(TARGET heed_generate)
  set(programs "heed ${same}" ${layer})
  list(JOIN programs ", " programs)
  heed_package(heed-generate SECTION science
               SUMMARY "multi-head attention for CPUs - text from language models"
               DESCRIPTION "The program that `heed generate` starts, the only one that needs OpenBLAS."
               DEPENDS "${programs}")
  set(generate RECOMMENDS "heed-generate ${same}")
endif()
if(TARGET heed_command)
  heed_package(heed SECTION science
               SUMMARY "multi-head attention for CPUs - command"
               DESCRIPTION "Computes attention on NumPy files; proves and measures heed on this machine."
               DEPENDS "${library}" ${generate})
endif()
include(CPack)
