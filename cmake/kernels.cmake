# One line per ISA, best first: heed_isa(<name> [WITH <isa>] [SLOW_ON <vendor>] FEATURES <cpu feature>...).
# An ISA that has the kernels of another one but for some of its own is built with that one only; one that
# is slow on a vendor's processors runs there by its name alone. From the same list come
# the -m flags of its object and the features that the run-time dispatch asks for, so the two cannot
# disagree. An ISA's table is made in kernels/isa/<name>.cc from its operations in
# kernels/isa/<name>.inl.h. The variable HEED_ISAS says which are built; their names are in the global
# property HEED_ISAS, all names in HEED_KNOWN_ISAS, an ISA's features in
# HEED_ISA_FEATURES_<name>.
function(heed_isa name)
  cmake_parse_arguments(arg "" "WITH;SLOW_ON" "FEATURES" ${ARGN})
  set_property(GLOBAL APPEND PROPERTY HEED_KNOWN_ISAS ${name})
  heed_isa_is_wanted(wanted ${name} ${arg_FEATURES})
  if(NOT wanted)
    return()
  endif()
  if(HEED_ISAS STREQUAL native)
    set_property(GLOBAL APPEND PROPERTY HEED_NATIVE_ISAS ${name} ${arg_WITH})
  elseif(HEED_ISAS AND arg_WITH AND NOT arg_WITH IN_LIST HEED_ISAS)
    message(FATAL_ERROR "HEED_ISAS has ${name}, which needs ${arg_WITH}")
  endif()
  set_property(GLOBAL APPEND PROPERTY HEED_ISAS ${name})
  set_property(GLOBAL PROPERTY HEED_ISA_FEATURES_${name} ${arg_FEATURES})
  set_property(GLOBAL PROPERTY HEED_ISA_SLOW_ON_${name} "${arg_SLOW_ON}")
  if(HEED_BUILT_KERNELS)
    set(target heed_kernels_${name})
    add_library(${target} OBJECT IMPORTED GLOBAL)
    set_target_properties(${target} PROPERTIES IMPORTED_OBJECTS
                          ${HEED_BUILT_KERNELS}/kernels/CMakeFiles/${target}.dir/isa/${name}.cc.o)
  else()
    heed_isa_objects(heed_kernels_${name} ${name} ${PROJECT_SOURCE_DIR}/kernels/isa/${name}.cc)
  endif()
endfunction()

# heed_isa_is_wanted(<variable> <isa> <feature>...): whether HEED_ISAS says that the ISA is built.
function(heed_isa_is_wanted variable name)
  set(wanted OFF)
  if(NOT HEED_ISAS OR name IN_LIST HEED_ISAS)
    set(wanted ON)
  elseif(HEED_ISAS STREQUAL native)
    get_property(native GLOBAL PROPERTY HEED_NATIVE_ISAS)
    if(native)
      if(name IN_LIST native)
        set(wanted ON)
      endif()
    else()
      heed_machine_has(wanted ${ARGN})
    endif()
  endif()
  # Every processor runs the ISA that needs no features, so that a heed without the best ISA of its
  # machine runs there too. For sanitizers those asked for are enough: loads and stores that only this one has
  # are proved between guard pages, in the release preset.
  if(NOT ARGN AND NOT HEED_SANITIZE)
    set(wanted ON)
  endif()
  set(${variable} ${wanted} PARENT_SCOPE)
endfunction()

# heed_machine_has(<variable> <feature>...): whether the processor of this machine has all these features, as
# far as the compiler knows.
function(heed_machine_has variable)
  if(CMAKE_CROSSCOMPILING)
    message(FATAL_ERROR "HEED_ISAS (native) means the machine that builds, and this build is for another one")
  endif()
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -march=native -dM -E -x c++ /dev/null
                  OUTPUT_VARIABLE macros COMMAND_ERROR_IS_FATAL ANY)
  set(${variable} ON PARENT_SCOPE)
  foreach(feature IN LISTS ARGN)
    string(TOUPPER ${feature} feature)
    if(NOT macros MATCHES "#define __${feature}__ ")
      set(${variable} OFF PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# heed_check_isas(): after the last heed_isa(); an error where HEED_ISAS names one that heed does not know.
function(heed_check_isas)
  get_property(known GLOBAL PROPERTY HEED_KNOWN_ISAS)
  foreach(name IN LISTS HEED_ISAS)
    if(NOT name IN_LIST known AND NOT HEED_ISAS STREQUAL native)
      list(JOIN known ", " known)
      message(FATAL_ERROR "HEED_ISAS (${name}) must be some of ${known}, or native")
    endif()
  endforeach()
endfunction()

# heed_isa_objects(<target> <isa> <source>...): an object library compiled for that ISA.
function(heed_isa_objects target isa)
  get_property(flags GLOBAL PROPERTY HEED_ISA_FEATURES_${isa})
  list(TRANSFORM flags PREPEND "-m")
  add_library(${target} OBJECT ${ARGN})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:heed_options> xsimd)
  # Optimised in Debug builds too, and no link-time optimisation: an inline function that is left
  # out of line would be a weak symbol compiled for this ISA. No contraction: the order of roundings
  # is written in the source. No more features than the ISA's, whatever CMAKE_CXX_FLAGS say. No counting
  # of lines, which takes an object minutes to compile. These flags follow those of the build type, so
  # they win.
  target_compile_options(
    ${target} PRIVATE -march=${heed_baseline} ${flags} -fno-fast-math -O3 -fno-lto -ffp-contract=off -fno-math-errno
                      -fno-trapping-math -fno-exceptions -fno-rtti -fno-profile-arcs -fno-test-coverage)
  # The intrinsics of gcc 12 name a register that they leave undefined by initialising it with itself
  # (GCC bug 105593).
  target_compile_options(${target} PRIVATE
                         "$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>")
  # What makes the kernels take minutes to compile under the sanitizers: higher optimisation, marking the
  # scope of every temporary vector, and checking every pointer for what AddressSanitizer notices where
  # it is used. With calls in the place of checks (--param asan-instrumentation-with-call-threshold=0) compilation
  # takes two thirds of the time, but tests twice as long.
  if(HEED_SANITIZE MATCHES address)
    set_target_properties(${target} PROPERTIES HEED_OWN_SANITIZERS ON)
    target_compile_options(
      ${target} PRIVATE -O1 ${heed_instrumented} -fno-sanitize-address-use-after-scope
                        -fsanitize=address,signed-integer-overflow,shift,integer-divide-by-zero)
  endif()
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON UNITY_BUILD OFF
                        INTERPROCEDURAL_OPTIMIZATION OFF CXX_VISIBILITY_PRESET hidden)
endfunction()

# heed_isa_rows(<file> <isa>...): writes the rows that runtime/cpu/dispatch.cc includes.
function(heed_isa_rows file)
  set(rows "")
  foreach(isa IN LISTS ARGN)
    get_property(features GLOBAL PROPERTY HEED_ISA_FEATURES_${isa})
    set(set "FeatureSet()")
    foreach(feature IN LISTS features)
      string(REPLACE "-" "_" feature ${feature})
      string(APPEND set " | Feature::${feature}")
    endforeach()
    get_property(slow_on GLOBAL PROPERTY HEED_ISA_SLOW_ON_${isa})
    string(APPEND rows "HEED_ISA_ROW(${isa}, ${set}, \"${slow_on}\")\n")
  endforeach()
  file(CONFIGURE OUTPUT ${file} CONTENT "${rows}" @ONLY)
endfunction()
