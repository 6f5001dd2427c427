// What hardened.sh must catch, compiled without any of it.
#include <cstring>

int main(int argc, char** argv) {
  char name[64];
  std::strcpy(name, argv[argc - 1]);
  return name[0] == '\0' ? 1 : 0;
}
