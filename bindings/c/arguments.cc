#include "bindings/c/arguments.h"

namespace heed::c {
namespace {

/// Members are added in pairs where they take four bytes, so that every version of a struct ends at
/// a multiple of eight. The largest size is to tell a struct that nobody has initialised.
constexpr std::size_t kStructAlignment = 8;
constexpr std::size_t kLargestStruct = 4096;

}  // namespace

void check_struct_size(const Path& path, std::size_t size) {
  if (size >= kStructAlignment && size <= kLargestStruct && size % kStructAlignment == 0) return;
  refuse(path, ".struct_size (", size, ") must be a multiple of ", kStructAlignment, " from ",
         kStructAlignment, " to ", kLargestStruct, ": the struct's init function sets it");
}

void check_unknown_members(const Path& path, const void* given, std::size_t size,
                           std::size_t known) {
  const auto* bytes = static_cast<const unsigned char*>(given);
  for (std::size_t i = known; i < size; ++i) {
    if (bytes[i] == 0) continue;
    refuse(path, ".struct_size (", size, ") is larger than this heed's (", known,
           "), and what it does not know is not 0: the program needs a later heed");
  }
}

void write_text(std::string_view text, char* out, std::size_t size, std::size_t* length) {
  const std::span<char> room = elements("text", out, size);
  if (!room.empty()) {
    const std::size_t written = text.copy(room.data(), room.size() - 1);
    room[written] = '\0';
  }
  if (length != nullptr) *length = text.size();
}

}  // namespace heed::c
