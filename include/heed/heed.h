// heed: multi-head attention for CPUs. Everything a user needs.
#pragma once

#include "heed/attention.h"
#include "heed/attention_weights.h"
#include "heed/convert.h"
#include "heed/cpu.h"
#include "heed/dtype.h"
#include "heed/executor.h"
#include "heed/key_mask.h"
#include "heed/kv_cache.h"
#include "heed/paged_layout.h"
#include "heed/partial_states.h"
#include "heed/rotary.h"
#include "heed/score_modifiers.h"
#include "heed/softmax.h"
#include "heed/status.h"
#include "heed/tensor_data.h"
#include "heed/version.h"
