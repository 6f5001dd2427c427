# heed_threads: what HEED_THREADS makes heed link, also where it is installed.
get_property(known CACHE HEED_THREADS PROPERTY STRINGS)
if(NOT HEED_THREADS IN_LIST known)
  list(JOIN known ", " known)
  message(FATAL_ERROR "HEED_THREADS (${HEED_THREADS}) must be one of ${known}")
endif()

# The libraries, which a project that embeds heed may have brought.
set(heed_threads_link "")
if(HEED_THREADS STREQUAL tbb)
  if(NOT TARGET TBB::tbb)
    find_package(TBB 2021 REQUIRED)
  endif()
  # Installed, oneTBB is what heed-config.cmake finds, also where the target here is one that the
  # embedding project builds.
  set(heed_threads_link $<BUILD_INTERFACE:TBB::tbb> $<INSTALL_INTERFACE:heed::tbb>)
elseif(HEED_THREADS STREQUAL std)
  find_package(Threads REQUIRED)
  set(heed_threads_link Threads::Threads)
endif()
