// heed from C, and from whatever can call C: C99, and C++. libheed_c contains heed; nothing of C++
// is seen through it. This header is all of them in heed/c/, which are named as those of C++.
//
// Names are those of the C++ headers, heed::KvCache::extend being heed_kv_cache_extend; these
// headers and docs/manual.md tell the whole story, and what is said here is what C adds. A function
// that would have the name of a struct begins with heed_get_. "Default" means what the struct's
// init function writes.
//
// Errors. Functions return a heed_status, but for those that return void, a text or a number and
// cannot fail. After a failure nothing has changed, outputs included, and heed_last_message() has
// the sentence. A null pointer where something is needed is a failure like any other. Nothing is
// thrown, and nothing ends the process.
//
// Structs that begin with `struct_size` may grow at their end from version to version: call the
// struct's init function, then set what differs. It writes the size that the program was compiled
// with, by which heed knows the members that a caller does not have, and takes their defaults. A
// struct that is larger than heed knows is refused where what heed does not know is not 0. Members
// called `reserved` must be 0. Into structs that it writes heed writes as much as the caller has.
// Structs without `struct_size` never change.
//
// Where C++ has an optional, a pointer is null, which is the default; where it has a span there are
// a pointer and a count. Arrays and structs that a struct points to are read during the call only.
//
// Handles are made by a create function, which writes to its last parameter, and ended by a destroy
// function, to which null is nothing. What C++ says of threads and one object goes for handles.
#pragma once

#include "heed/c/attention.h"
#include "heed/c/attention_weights.h"
#include "heed/c/convert.h"
#include "heed/c/cpu.h"
#include "heed/c/dtype.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/forecast.h"
#include "heed/c/head_norm.h"
#include "heed/c/key_mask.h"
#include "heed/c/kv_cache.h"
#include "heed/c/paged_layout.h"
#include "heed/c/partial_states.h"
#include "heed/c/rotary.h"
#include "heed/c/sampling.h"
#include "heed/c/scales.h"
#include "heed/c/score_modifiers.h"
#include "heed/c/softmax.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"
#include "heed/c/version.h"
