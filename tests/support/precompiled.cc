// Only what CMake precompiles for it matters.
