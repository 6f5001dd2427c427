#include "runtime/schedule/prefixes.h"

#include <algorithm>
#include <limits>

namespace heed::detail {
namespace {

using kernels::kPartitionKeys;

/// Reading keys together must save this part of the work that it replaces: the groups' rows are
/// then merged, each with what it reads by itself.
constexpr double kWorthSharing = 0.9;

/// The partitions each of whose keys every row sees.
Range partitions_seen_by_all(const Visibility& s) {
  Range keys{s.window_of(s.queries - 1).first, s.window_of(0).last};
  if (s.mask.exists()) keys.last = std::min<std::int64_t>(keys.last, s.mask.rows.first_key);
  return {(keys.first + kPartitionKeys - 1) / kPartitionKeys, keys.last / kPartitionKeys};
}

}  // namespace

void SharedPrefixes::find(const Work& work, std::vector<PrefixGroup>& groups) {
  work_ = &work;
  groups_ = &groups;
  groups.clear();
  members_ = 0;
  member_.clear();
  if (work.shared.empty()) return;
  const auto sequences = static_cast<std::int32_t>(work.sequences.size());
  keys_.assign(work.sequences.size(), {0, 0});
  reach_.clear();
  for (std::int32_t b = 0; b < sequences; ++b) reach_.push_back(reach(b));
  divide(0, sequences, 0, 0);
  for (const Range& keys : keys_) member_.push_back(keys.last > 0 ? members_++ : -1);
}

/// How many partitions a sequence may read together with the one before it.
std::int32_t SharedPrefixes::reach(std::int32_t sequence) const {
  const std::int32_t shared = work_->shared[static_cast<std::size_t>(sequence)];
  if (shared == 0 || !may_join(sequence) || !may_join(sequence - 1)) return 0;
  const Range one = partitions_seen_by_all(work_->sequence(sequence - 1));
  const Range other = partitions_seen_by_all(work_->sequence(sequence));
  const std::int64_t end = std::min({std::int64_t{shared}, one.last, other.last});
  return end > std::max(one.first, other.first) ? static_cast<std::int32_t>(end) : 0;
}

/// A block of rows and more reads keys from the cache for its own blocks; others gain it nothing.
bool SharedPrefixes::may_join(std::int32_t sequence) const {
  const std::int64_t rows = work_->sequence(sequence).rows();
  return rows > 0 && rows <= work_->block_rows && work_->has_few_states(rows);
}

/// Groups sequences [first, last), which read their partitions before `from` in at most `depth`
/// other groups, then divides them where they have no more in common.
void SharedPrefixes::divide(std::int32_t first, std::int32_t last, std::int64_t from, int depth) {
  if (last - first < 2 || depth == kMaxPrefixes) return;
  Range partitions = common(first, last);
  const std::int64_t end = partitions.last;
  partitions.first = std::max(partitions.first, from);
  if (partitions.first < partitions.last && pays({first, last, partitions})) {
    add({first, last, partitions});
    from = end;
  }
  for (std::int32_t begin = first, b = first + 1; b <= last; ++b) {
    if (b < last && reach_[static_cast<std::size_t>(b)] > end) continue;
    divide(begin, b, from, depth + 1);
    begin = b;
  }
}

/// The partitions that sequences [first, last) may read together.
Range SharedPrefixes::common(std::int32_t first, std::int32_t last) const {
  Range partitions{0, std::numeric_limits<std::int32_t>::max()};
  for (std::int32_t b = first; b < last; ++b) {
    partitions.first = std::max(partitions.first, partitions_seen_by_all(work_->sequence(b)).first);
    if (b == first) continue;
    partitions.last = std::min<std::int64_t>(partitions.last, reach_[static_cast<std::size_t>(b)]);
  }
  return partitions;
}

bool SharedPrefixes::pays(const PrefixGroup& group) const {
  const CostModel& cost = work_->cost;
  const std::int64_t keys = group.keys().last - group.keys().first;
  std::int64_t rows = 0;
  double apart = 0;
  for (std::int32_t b = group.first; b < group.last; ++b) {
    const std::int64_t own = work_->sequence(b).rows();
    rows += own;
    apart += cost.attend(own, own * keys) - cost.attend(own, 0);
  }
  return cost.attend(rows, rows * keys) + cost.merge(rows, 1) <= kWorthSharing * apart;
}

void SharedPrefixes::add(const PrefixGroup& group) {
  groups_->push_back(group);
  for (std::int32_t b = group.first; b < group.last; ++b) {
    Range& keys = keys_[static_cast<std::size_t>(b)];
    if (keys.last == 0) keys.first = group.keys().first;
    keys.last = group.keys().last;
  }
}

}  // namespace heed::detail
