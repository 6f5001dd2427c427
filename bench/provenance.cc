#include "bench/provenance.h"

#include <sys/utsname.h>

#include <ctime>
#include <fstream>

namespace heed::bench {
namespace {

constexpr const char* kClocks = "/sys/devices/system/cpu/cpu0/cpufreq/";

/// A number of kilohertz in a file, in megahertz.
std::optional<double> read_megahertz(const char* name) {
  double kilohertz = 0;
  if (!(std::ifstream(std::string(kClocks) + name) >> kilohertz)) return std::nullopt;
  return kilohertz / 1000;
}

/// What virtual machines tell, which have no such files.
std::optional<double> megahertz_of_cpuinfo() {
  constexpr std::string_view kField = "cpu MHz";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with(kField)) return std::strtod(&line[line.find(':') + 1], nullptr);
  }
  return std::nullopt;
}

}  // namespace

std::string_view built_by() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "unknown";
#endif
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&now, &parts) != nullptr) {
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  }
  return text;
}

std::string system_name() {
  utsname name{};
  if (uname(&name) != 0) return "unknown";
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}

Frequency frequency() {
  Frequency clock{read_megahertz("scaling_cur_freq"), read_megahertz("cpuinfo_max_freq"), ""};
  if (!clock.mhz) clock.mhz = megahertz_of_cpuinfo();
  std::ifstream(std::string(kClocks) + "scaling_governor") >> clock.governor;
  return clock;
}

}  // namespace heed::bench
