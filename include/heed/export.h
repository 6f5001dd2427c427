// What a shared libheed exports; everything without this mark stays inside.
#pragma once

#define HEED_API __attribute__((visibility("default")))
