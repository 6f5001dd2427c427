# What every target of ours is compiled with: link heed_options.
add_library(heed_options INTERFACE)
target_compile_features(heed_options INTERFACE cxx_std_20)
# What a number means includes NaN, infinity and the order of operations, whatever a project that
# embeds heed compiles itself with. Roundings are those written in the source: where a processor has FMA,
# compilers would fuse products with sums. A target whose property HEED_CONTRACTS is true lets them.
target_compile_options(heed_options INTERFACE -fno-fast-math
                       $<$<NOT:$<BOOL:$<TARGET_PROPERTY:HEED_CONTRACTS>>>:-ffp-contract=off>)
target_compile_options(heed_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                       -Wno-sign-conversion -Wno-ignored-attributes)
if(HEED_WERROR)
  target_compile_options(heed_options INTERFACE -Werror)
endif()
if(HEED_SANITIZE)
  # Reports name lines (-g1) and follow frames. NDEBUG is not defined, as what it leaves out looks for faults. gcc 12's
  # instrumentation hides initialisations from the warning, std::regex's among them.
  set(heed_instrumented -g1 -UNDEBUG -fno-omit-frame-pointer -fno-sanitize-recover=all
                        $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  # Options that a target takes from here follow its own, and cannot be taken back by these: a target whose
  # property HEED_OWN_SANITIZERS is true says itself by what it is instrumented. Higher optimisation takes
  # longer to compile than it saves, but for ThreadSanitizer's kernels, which run for twice as long at -O1.
  set(heed_sanitized_optimisation -O1)
  if(HEED_SANITIZE MATCHES thread)
    set(heed_sanitized_optimisation -O2)
  endif()
  set(own $<BOOL:$<TARGET_PROPERTY:HEED_OWN_SANITIZERS>>)
  target_compile_options(heed_options INTERFACE
                         $<$<NOT:${own}>:-fsanitize=${HEED_SANITIZE};$<$<CONFIG:Release>:${heed_sanitized_optimisation}>;${heed_instrumented}>)
  target_compile_definitions(heed_options INTERFACE $<$<NOT:${own}>:HEED_SANITIZED>)
  target_link_options(heed_options INTERFACE -fsanitize=${HEED_SANITIZE})
endif()

# What the command's own code, which reads the files of strangers, is compiled with as well: link
# heed_hardened. The library leaves the choice to who builds it. Only optimised code can be fortified;
# where the C library knows no level 3, it means 2.
add_library(heed_hardened INTERFACE)
target_compile_options(heed_hardened INTERFACE -fPIE)
target_link_options(heed_hardened INTERFACE LINKER:-z,relro,-z,now)
if(NOT HEED_SANITIZE)
  target_compile_options(
    heed_hardened INTERFACE -fstack-protector-strong
    "$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:SHELL:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3>")
endif()
