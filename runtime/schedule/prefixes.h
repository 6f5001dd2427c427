// Prefixes: which sequences read which partitions of their keys together.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/schedule/work.h"

namespace heed::detail {

/// Finds the groups of sequences for which it pays to read the keys that they have in common once.
/// A group may contain smaller ones, whose prefixes are longer.
class SharedPrefixes {
 public:
  /// Fills `groups`, each before those that it contains.
  void find(const Work& work, std::vector<PrefixGroup>& groups);

  /// How many sequences are in any group.
  std::int32_t members() const { return members_; }
  /// The number of a sequence among them, in order; −1: it is in none.
  std::int32_t member(std::int32_t sequence) const {
    return member_.empty() ? -1 : member_[static_cast<std::size_t>(sequence)];
  }
  /// The keys that a member reads in groups.
  Range keys(std::int32_t sequence) const { return keys_[static_cast<std::size_t>(sequence)]; }

 private:
  std::int32_t reach(std::int32_t sequence) const;
  bool may_join(std::int32_t sequence) const;
  void divide(std::int32_t first, std::int32_t last, std::int64_t from, int depth);
  Range common(std::int32_t first, std::int32_t last) const;
  bool pays(const PrefixGroup& group) const;
  void add(const PrefixGroup& group);

  const Work* work_ = nullptr;
  std::vector<PrefixGroup>* groups_ = nullptr;
  std::vector<std::int32_t> reach_;
  std::vector<std::int32_t> member_;
  std::vector<Range> keys_;
  std::int32_t members_ = 0;
};

}  // namespace heed::detail
