# PkgConfig::openblas, where OpenBLAS is installed: heed::layer needs it, heed::heed does not.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(openblas QUIET IMPORTED_TARGET GLOBAL openblas)
endif()
if(NOT TARGET PkgConfig::openblas)
  message(STATUS "No OpenBLAS: heed::layer, what needs it and heed_micro_openblas are not built")
endif()
