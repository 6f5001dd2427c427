# A toolchain file: builds for aarch64 with Debian's cross compiler. HEED_SYSROOT is a folder with
# Debian's packages for arm64, as tools/aarch64 makes one; tests run in qemu with its libraries.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(HEED_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-aarch64 CACHE PATH
    "Where Debian's packages for arm64 are unpacked")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HEED_SYSROOT)
cmake_path(ABSOLUTE_PATH HEED_SYSROOT NORMALIZE OUTPUT_VARIABLE CMAKE_SYSROOT)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(libraries ${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR}
    ${libraries}/openblas-pthread/pkgconfig:${libraries}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)

# Its whole path: tests start it with a PATH of their own.
find_program(HEED_QEMU_AARCH64 qemu-aarch64-static REQUIRED)
set(CMAKE_CROSSCOMPILING_EMULATOR ${HEED_QEMU_AARCH64} -L ${CMAKE_SYSROOT})
