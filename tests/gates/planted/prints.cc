// What forbidden_symbols.sh must catch.
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace heed {

void complain(int n) {
  if (n == 1) std::printf("%d\n", n);
  if (n == 2) std::cerr << n;
  if (n == 3) std::abort();
}

}  // namespace heed
