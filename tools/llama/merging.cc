#include "tools/llama/merging.h"

#include <cstddef>
#include <queue>
#include <tuple>

namespace heed::llama {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);
constexpr std::int32_t kGone = -1;

/// An id in a list that shrinks; one that was merged into its left neighbour is kGone.
struct Node {
  std::int32_t id;
  std::size_t left, right;
};

/// Two neighbours that might be merged, as they were when this was found.
struct Candidate {
  Merge merge;
  std::size_t left, right;
  std::int32_t left_id, right_id;

  /// Comes later: a lower score, or further right.
  bool operator<(const Candidate& other) const {
    return std::tie(merge.score, other.left) < std::tie(other.merge.score, left);
  }
};

}  // namespace

void merge_neighbours(const std::function<Merge(std::int32_t left, std::int32_t right)>& merge_of,
                      std::vector<std::int32_t>& ids) {
  std::vector<Node> nodes;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    nodes.push_back({ids[i], i == 0 ? kNone : i - 1, i + 1 == ids.size() ? kNone : i + 1});
  }
  std::priority_queue<Candidate> queue;
  const auto consider = [&](std::size_t left) {
    if (left == kNone || nodes[left].right == kNone) return;
    const std::size_t right = nodes[left].right;
    const Merge merge = merge_of(nodes[left].id, nodes[right].id);
    if (merge.id >= 0) queue.push({merge, left, right, nodes[left].id, nodes[right].id});
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) consider(i);

  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Node& left = nodes[best.left];
    Node& right = nodes[best.right];
    // Nothing comes between neighbours: while both are there, unchanged, they are neighbours still.
    if (left.id != best.left_id || right.id != best.right_id) continue;
    left.id = best.merge.id;
    left.right = right.right;
    right.id = kGone;
    if (left.right != kNone) nodes[left.right].left = best.left;
    consider(best.left);
    consider(left.left);
  }

  std::erase_if(nodes, [](const Node& node) { return node.id == kGone; });
  ids.clear();
  for (const Node& node : nodes) ids.push_back(node.id);
}

}  // namespace heed::llama
