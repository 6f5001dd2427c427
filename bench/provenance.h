// What a figure needs to be compared with others: which heed, on which machine, when.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace heed::bench {

/// The commit that this heed was built from, followed by "+" where the sources had changed since;
/// empty where they were not those of a repository.
std::string_view built_commit();

/// The compiler, such as "GCC 12.2.0".
std::string_view built_by();

/// Now, in UTC: "2026-01-31T12:00:00Z".
std::string utc_now();

/// The system's name, version and machine: "Linux 6.1.0 x86_64".
std::string system_name();

/// The clock of the first CPU, as far as the system tells.
struct Frequency {
  std::optional<double> mhz, max_mhz;
  std::string governor;  ///< what chooses it; empty where unknown
};
Frequency frequency();

}  // namespace heed::bench
