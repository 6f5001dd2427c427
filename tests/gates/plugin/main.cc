// main PLUGIN: loads, runs and unloads the plug-in 30 times.
// main PLUGIN COPY: loads both, and says whether they run the same heed.
//
// It has the standard library of C++, as most hosts of plug-ins do: a plug-in that brings it is
// never unloaded.
#include <dlfcn.h>

#include <chrono>
#include <iostream>
#include <thread>

namespace {

void* load(const char* path) {
  void* const plugin = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (plugin == nullptr) std::cout << dlerror() << '\n';
  return plugin;
}

template <typename Function>
Function* find(void* plugin, const char* name) {
  return plugin == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(plugin, name));
}

bool run_once(const char* path) {
  void* const plugin = load(path);
  auto* const run = find<bool()>(plugin, "plugin_run");
  const bool fine = run != nullptr && run() && dlclose(plugin) == 0;
  // Threads that still run what is gone need a moment to find out.
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return fine;
}

int compare(const char* a, const char* b) {
  auto* const first = find<const void*()>(load(a), "plugin_heed");
  auto* const second = find<const void*()>(load(b), "plugin_heed");
  if (first == nullptr || second == nullptr) return 1;
  std::cout << (first() == second() ? "the same heed" : "a heed each") << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) return compare(argv[1], argv[2]);
  constexpr int kRounds = 30;
  for (int i = 0; i < kRounds; ++i) {
    if (!run_once(argv[1])) return 1;
  }
  return 0;
}
