#!/usr/bin/env bash
# reuse_object_self_test.sh WORK_DIR CXX: reuse_object.sh takes an object whose sources are older, from a folder with a
# space in its name, and none whose sources are newer, or made by each build and not the same; it compiles without
# HEED_BUILT_DIR; and what it took depends on its sources.
set -euo pipefail
work=$1 cxx=$2
gates=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work"
cd "$work"
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(one LANGUAGES CXX)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
add_library(one OBJECT one.cc)
file(WRITE ${CMAKE_BINARY_DIR}/part.h "")
file(CONFIGURE OUTPUT made.cc CONTENT "#include \"@CMAKE_BINARY_DIR@/part.h\"\nextern const char text[] = \"@TEXT@\";\n" @ONLY)
add_library(made OBJECT made.cc)
END
echo '#include "one.h"' >one.cc
echo 'int one();' >one.h
touch -d '1 hour ago' one.cc one.h
object=CMakeFiles/one.dir/one.cc.o

fail() {
  echo "$1"
  exit 1
}
# steps: prints how many objects are made, taken or compiled.
steps() { ninja -C build | grep -c 'Building' || true; }
taken() { cmp -s "built here/$object" "build/$object"; }
# configure_build OPTION...: of the folder that takes objects.
configure_build() {
  cmake -S . -B build -G Ninja -DCMAKE_CXX_COMPILER="$cxx" \
    -DCMAKE_CXX_COMPILER_LAUNCHER="$gates/../../tools/reuse_object.sh" "$@" >/dev/null
}

unset CMAKE_CXX_COMPILER_LAUNCHER
cmake -S . -B 'built here' -G Ninja -DCMAKE_CXX_COMPILER="$cxx" >/dev/null
ninja -C 'built here' >/dev/null
configure_build
# An object that no compiler makes shows who made it.
echo taken >"built here/$object"
HEED_BUILT_DIR=$PWD/'built here' ninja -C build >/dev/null
taken || fail "an object was compiled that was there"
[[ $(steps) == 0 ]] || fail "what was taken is made again though nothing changed"
touch one.h
[[ $(steps) == 1 ]] || fail "what was taken does not depend on its sources"
if taken; then fail "an object was taken without HEED_BUILT_DIR"; fi
touch one.h
HEED_BUILT_DIR=$PWD/'built here' ninja -C build >/dev/null
if taken; then fail "an object was taken that is older than its sources"; fi

# What each build makes for itself: it may include what else a build makes, and must be the same in all but that.
made=CMakeFiles/made.dir/made.cc.o
# take TEXT OTHER: builds with the one, and takes what it can from a build with the other.
take() {
  cmake -S . -B built -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DTEXT="$2" >/dev/null
  ninja -C built >/dev/null
  echo taken >"built/$made"
  rm "build/$made"
  configure_build -DTEXT="$1"
  HEED_BUILT_DIR=$PWD/built ninja -C build >/dev/null
  cmp -s {built,build}/"$made"
}
take one one || fail "an object was compiled whose source both builds made alike"
if take one two; then fail "an object was taken whose source this build makes in another way"; fi
if take "$PWD/build" "$PWD/built"; then fail "an object was taken that names the other folder"; fi
