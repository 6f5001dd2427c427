# heed_processor: the architecture that is built for, x86_64 or aarch64. heed_baseline: what all of its
# processors have, as -march takes it.
string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
if(processor MATCHES "^(x86_64|amd64)$")
  set(heed_processor x86_64)
  set(heed_baseline x86-64)
elseif(processor MATCHES "^(aarch64|arm64)$")
  set(heed_processor aarch64)
  set(heed_baseline armv8-a)
else()
  message(FATAL_ERROR "heed has kernels for x86_64 and aarch64, none for ${CMAKE_SYSTEM_PROCESSOR}")
endif()
