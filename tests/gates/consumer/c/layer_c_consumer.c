// A product of matrices, and a layer that wants weights: what a program in C against an installed
// libheed_layer_c needs.
#include <heed/c/layer.h>

int main(void) {
  const float w[4] = {1, 2, 3, 4}, x[2] = {1, 1};
  float y[2] = {0, 0};
  heed_linear linear;
  heed_attention_config attention;
  heed_layer_config config;
  heed_layer_weights weights;
  heed_attention_step* step = NULL;
  heed_multi_head_attention* layer = NULL;
  heed_linear_init(&linear);
  heed_attention_config_init(&attention);
  heed_layer_config_init(&config);
  heed_layer_weights_init(&weights);
  linear.weight = w;
  linear.outputs = linear.inputs = 2;
  if (heed_project(&linear, 1, x, y, NULL) || y[0] != 3 || y[1] != 7) return 1;
  attention.head_dim = config.dim = 2;
  config.attention = &attention;
  if (heed_attention_step_create(&config, NULL, &step)) return 2;
  heed_attention_step_destroy(step);
  return heed_multi_head_attention_create(&config, &weights, &layer) == HEED_INVALID_ARGUMENT ? 0 : 3;
}
