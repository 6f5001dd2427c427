// fmt as a static library, of its headers alone: cmake/fmt.cmake says how this is compiled.
#include <fmt/format.h>
