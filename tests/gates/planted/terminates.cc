// Ends the process where something is thrown.
#include <exception>

void may_throw();

void ends_the_process() {
  try {
    may_throw();
  } catch (...) {
    std::terminate();
  }
}
