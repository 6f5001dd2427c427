# heed_fmt: what links fmt. A static command needs it as a static library; where there is only the shared one, as in
# Debian, that is made of its headers: gcc keeps every inline function of cmake/static_fmt.cc, under the names
# that the shared one has. With other compilers, every source that uses fmt compiles its headers.
function(heed_add_static_fmt)
  if(TARGET heed_static_fmt)
    return()
  endif()
  add_library(heed_static_fmt STATIC ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/static_fmt.cc)
  target_compile_features(heed_static_fmt PRIVATE cxx_std_20)
  target_link_libraries(heed_static_fmt PRIVATE fmt::fmt-header-only heed_hardened)
  # Sections are what the linker leaves out again. gcc 12 warns wrongly of fmt's fill characters.
  target_compile_options(heed_static_fmt PRIVATE -fkeep-inline-functions -ffunction-sections -fdata-sections
                                                 -Wno-stringop-overflow)
  target_link_options(heed_static_fmt INTERFACE LINKER:--gc-sections)
  set_target_properties(heed_static_fmt PROPERTIES POSITION_INDEPENDENT_CODE ON)
  # What uses it is compiled as for the shared one.
  foreach(property IN ITEMS INTERFACE_COMPILE_DEFINITIONS INTERFACE_INCLUDE_DIRECTORIES)
    get_target_property(value fmt::fmt ${property})
    if(value)
      set_target_properties(heed_static_fmt PROPERTIES ${property} "${value}")
    endif()
  endforeach()
endfunction()

find_package(fmt 9 REQUIRED)
set(heed_fmt fmt::fmt)
get_target_property(fmt_type fmt::fmt TYPE)
if(HEED_STATIC AND fmt_type STREQUAL SHARED_LIBRARY)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    heed_add_static_fmt()
    set(heed_fmt heed_static_fmt)
  else()
    set(heed_fmt fmt::fmt-header-only)
  endif()
endif()
