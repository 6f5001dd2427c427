# heed_fmt: what links fmt; into a static command from its headers, where the library is a shared one.
find_package(fmt 9 REQUIRED)
set(heed_fmt fmt::fmt)
get_target_property(fmt_type fmt::fmt TYPE)
if(HEED_STATIC AND fmt_type STREQUAL SHARED_LIBRARY)
  set(heed_fmt fmt::fmt-header-only)
endif()
