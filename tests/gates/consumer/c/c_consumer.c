// Attention over a single key returns its value: what a program in C against an installed heed needs.
#include <heed/heed_c.h>

int main(void) {
  const float q[2] = {1, 2}, k[2] = {3, 4}, v[2] = {5, 6};
  float out[2] = {0, 0};
  heed_attention_config config;
  heed_batch batch;
  heed_attention_tensors tensors;
  heed_plan* plan = NULL;
  heed_workspace* workspace = NULL;
  heed_attention_config_init(&config);
  heed_batch_init(&batch);
  heed_attention_tensors_init(&tensors);
  config.head_dim = 2;
  batch.query.length = batch.key.length = 1;
  tensors.q.data = q;
  tensors.k.data = k;
  tensors.v.data = v;
  tensors.out.data = out;
  if (heed_plan_create(&plan) || heed_workspace_create(&workspace)) return 1;
  if (heed_plan_attention(&config, &batch, NULL, plan)) return 2;
  if (heed_workspace_reserve(workspace, plan) || heed_run(plan, &tensors, workspace, NULL)) return 3;
  heed_workspace_destroy(workspace);
  heed_plan_destroy(plan);
  return out[0] == 5 && out[1] == 6 ? 0 : 4;
}
