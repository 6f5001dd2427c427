// A product of matrices, and a layer that wants weights: what a program against an installed
// heed::layer needs.
#include <heed/layer.h>

int main() {
  const float w[4] = {1, 2, 3, 4}, x[2] = {1, 1};
  float y[2] = {};
  if (!heed::project({w, nullptr, 2, 2}, 1, x, y) || y[0] != 3 || y[1] != 7) return 1;
  heed::LayerConfig config{.dim = 2, .attention = {}, .rotary = nullptr};
  config.attention.head_dim = 2;
  heed::MultiHeadAttention layer;
  heed::AttentionStep step;
  if (!heed::AttentionStep::create(config, {}, step)) return 2;
  return heed::MultiHeadAttention::create(config, {}, layer).ok() ? 3 : 0;
}
