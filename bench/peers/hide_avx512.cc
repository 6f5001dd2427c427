// Preloaded into a peer (LD_PRELOAD), shows it a processor without AVX-512, AVX10 and AMX, so that
// it takes the kernels that it has for AVX2: some peers look at nothing but the processor.
//
// The peer's libraries are copies below the folder HEED_TRAPPED, in which trap_cpuid.mjs has
// replaced `cpuid` by `ud0`, an instruction that no processor knows and no compiler writes. The
// handler of its signal executes `cpuid` and takes bits out of what it says.
#include <dlfcn.h>
#include <ucontext.h>

#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string_view>

namespace {

/// Registers that `cpuid` reads and writes.
struct Cpuid {
  std::uint32_t a, b, c, d;
};

constexpr std::uint32_t bits(std::initializer_list<int> list) {
  std::uint32_t all = 0;
  for (const int bit : list) all |= std::uint32_t{1} << bit;
  return all;
}

/// The bits are those of Intel's manual, volume 2, CPUID.
void hide(std::uint32_t leaf, std::uint32_t subleaf, Cpuid& said) {
  if (leaf == 7 && subleaf == 0) {
    said.b &= ~bits({16, 17, 21, 26, 27, 28, 30, 31});  // AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL
    said.c &= ~bits({1, 6, 11, 12, 14});                // VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
    said.d &= ~bits({2, 3, 8, 22, 23, 24, 25});         // 4VNNIW, 4FMAPS, VP2INTERSECT, AMX, FP16
  } else if (leaf == 7 && subleaf == 1) {
    said.a &= ~bits({5, 21});  // AVX-512 BF16, AMX FP16
    said.d &= ~bits({19});     // AVX10
  } else if (leaf == 0xD && subleaf == 0) {
    said.a &= bits({0, 1, 2});  // states that systems save: x87, SSE, AVX
  }
}

/// What a program ends with that was shown the whole processor all the same.
constexpr int kNotHidden = 99;

volatile std::sig_atomic_t answered = 0;
char folder[PATH_MAX + 2];  ///< HEED_TRAPPED, with a / at its end; nothing that a constructor makes

bool was_cpuid(const std::uint8_t* instruction) {
  Dl_info library;
  return instruction[0] == 0x0F && instruction[1] == 0xFF && dladdr(instruction, &library) != 0 &&
         std::string_view(library.dli_fname).starts_with(folder);
}

void answer(int signal, siginfo_t*, void* context) {
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (!was_cpuid(reinterpret_cast<const std::uint8_t*>(registers[REG_RIP]))) {
    std::signal(signal, SIG_DFL);  // the instruction traps again, as it would have
    return;
  }
  const auto leaf = static_cast<std::uint32_t>(registers[REG_RAX]);
  const auto subleaf = static_cast<std::uint32_t>(registers[REG_RCX]);
  Cpuid said{leaf, 0, subleaf, 0};
  asm volatile("cpuid" : "+a"(said.a), "=b"(said.b), "+c"(said.c), "=d"(said.d));
  hide(leaf, subleaf, said);
  registers[REG_RAX] = said.a;
  registers[REG_RBX] = said.b;
  registers[REG_RCX] = said.c;
  registers[REG_RDX] = said.d;
  registers[REG_RIP] += 2;
  answered = 1;
}

void end(int status, void*) {
  if (status != 0 || answered != 0) return;
  std::fputs("AVX-512 was not hidden: nobody asked for it from HEED_TRAPPED\n", stderr);
  std::fflush(nullptr);
  std::_Exit(kNotHidden);
}

using Sigaction = int (*)(int, const struct sigaction*, struct sigaction*);

int real_sigaction(int signal, const struct sigaction* action, struct sigaction* before) {
  static const auto next = reinterpret_cast<Sigaction>(dlsym(RTLD_NEXT, "sigaction"));
  return next(signal, action, before);
}

[[gnu::constructor]] void begin() {
  const char* const trapped = std::getenv("HEED_TRAPPED");
  struct sigaction action = {};
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  if (trapped != nullptr && *trapped != '\0' && real_sigaction(SIGILL, &action, nullptr) == 0) {
    std::snprintf(folder, sizeof folder, "%s/", trapped);
    on_exit(end, nullptr);
    return;
  }
  std::fputs(
      "AVX-512 cannot be hidden: HEED_TRAPPED must name the folder of copies without cpuid\n",
      stderr);
  std::_Exit(kNotHidden);
}

}  // namespace

/// Keeps the handler of this file, where a peer sets one of its own.
extern "C" int sigaction(int signal, const struct sigaction* action, struct sigaction* before) {
  if (signal != SIGILL) return real_sigaction(signal, action, before);
  if (before != nullptr) std::memset(before, 0, sizeof *before);
  return 0;
}
