// Attention over a single key returns its value: what a program against an installed heed needs.
#include <heed/heed.h>

int main() {
  const float q[2] = {1, 2}, k[2] = {3, 4}, v[2] = {5, 6};
  float out[2] = {};
  heed::Plan plan;
  heed::Workspace workspace;
  const heed::Batch batch{.query = {.length = 1}, .key = {.length = 1}};
  if (!heed::plan_attention({.head_dim = 2}, batch, {}, plan)) return 1;
  if (!workspace.reserve(plan) || !heed::run(plan, {q, k, v, out}, workspace)) return 2;
  return out[0] == 5 && out[1] == 6 ? 0 : 3;
}
