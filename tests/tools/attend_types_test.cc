// heed attend: numbers of other types, in files and on the way.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "heed/convert.h"
#include "tests/tools/attend_case.h"

namespace heed::tests {
namespace {

using AttendTypes = Attend;

/// An array as a file of another type of numbers.
void write_typed(const std::string& path, const Array& array, DType type) {
  std::string bytes(array.data.size() * 2, '\0');
  const auto count = static_cast<std::int64_t>(array.data.size());
  ASSERT_TRUE(convert(array.data.data(), {bytes.data(), type}, count).ok());
  write_bytes(path, tools::npy_prologue(array.shape, type) + bytes);
}

// The numbers of these tensors are the same in every type.
TEST_F(AttendTypes, ReadsOtherTypes) {
  expect_fine(run_heed(all()));
  const std::string out = read_bytes(out_), lse = read_bytes(lse_);
  const Array v = read_array(v_), k = read_array(k_);
  write_typed(q_, read_array(q_), DType::f16);
  write_typed(v_, v, DType::bf16);
  expect_fine(run_heed(all() + Arguments{"--bf16", "v"}));
  EXPECT_EQ(read_bytes(out_), out);
  EXPECT_EQ(read_bytes(lse_), lse);
  write_typed(k_, k, DType::bf16);
  for (const char* type : {"f32", "f16", "bf16", "fp8_e4m3", "fp8_e5m2"}) {
    SCOPED_TRACE(type);
    expect_fine(run_heed(all() + Arguments{"--bf16", "k,v", "--k-type", type}));
    EXPECT_EQ(read_bytes(lse_), lse);
  }
}

TEST_F(AttendTypes, WritesOtherTypes) {
  expect_fine(run_heed(all()));
  const Array floats = read_array(out_);
  expect_fine(run_heed(all() + Arguments{"--out-type", "f16"}));
  const std::string half = read_bytes(out_);
  write_typed(out_, floats, DType::f16);
  EXPECT_EQ(half, read_bytes(out_));
  expect_fine(run_heed(all() + Arguments{"--out-type", "bf16"}));
  const std::string brain = read_bytes(out_);
  write_typed(out_, floats, DType::bf16);
  EXPECT_EQ(brain, read_bytes(out_));
}

// As if the files held what the quantised numbers are.
TEST_F(AttendTypes, QuantisesKeysAndValues) {
  const Shape shape{1, 3, 1, 32};
  Array q{shape, {}}, k{shape, {}}, v{shape, {}};
  for (int i = 0; i < 96; ++i) {
    q.data.push_back(std::sin(static_cast<float>(i)));
    k.data.push_back(std::cos(static_cast<float>(3 * i)));
    v.data.push_back(std::cos(static_cast<float>(i * i)));
  }
  for (const auto& [name, type] :
       {std::pair{"q8_0", DType::q8_0}, std::pair{"q4_0", DType::q4_0}}) {
    write_npy(q_, q);
    write_npy(k_, k);
    write_npy(v_, v);
    expect_fine(run_heed(all() + Arguments{"--kv-type", name}));
    const std::string out = read_bytes(out_), lse = read_bytes(lse_);
    for (const auto& [path, array] : {std::pair{k_, k}, std::pair{v_, v}}) {
      alignas(2) std::array<std::byte, 3 * 34> blocks{};
      Array rounded = array;
      ASSERT_TRUE(convert(array.data.data(), {blocks.data(), type}, 96).ok());
      ASSERT_TRUE(convert({blocks.data(), type}, rounded.data.data(), 96).ok());
      write_npy(path, rounded);
    }
    expect_fine(run_heed(all()));
    EXPECT_EQ(read_bytes(out_), out);
    EXPECT_EQ(read_bytes(lse_), lse);
  }
}

// Codes of int8 are 127 · x where the largest magnitude of a group is 1, and those of int4 7 · x.
TEST_F(AttendTypes, QuantisesWithScales) {
  const Shape shape{1, 3, 1, 32};
  Array q{shape, {}}, k{shape, {}}, v{shape, {}};
  for (int i = 0; i < 96; ++i) {
    q.data.push_back(std::sin(static_cast<float>(i)));
    k.data.push_back(i % 8 == 0 ? 1.0F : std::cos(static_cast<float>(3 * i)));
    v.data.push_back(i % 8 == 0 ? -1.0F : std::cos(static_cast<float>(i * i)));
  }
  for (const auto& [name, codes] : {std::pair{"int8", 127.0F}, std::pair{"int4", 7.0F}}) {
    for (const char* group : {"", "8"}) {
      write_npy(q_, q);
      write_npy(k_, k);
      write_npy(v_, v);
      const Arguments groups = *group == 0 ? Arguments{} : Arguments{"--group", group};
      expect_fine(run_heed(all() + Arguments{"--kv-type", name} + groups));
      const std::string out = read_bytes(out_), lse = read_bytes(lse_);
      for (const auto& [path, array] : {std::pair{k_, k}, std::pair{v_, v}}) {
        Array rounded = array;
        const float scale = 1 / codes;
        for (float& x : rounded.data) x = std::nearbyint(x / scale) * scale;
        write_npy(path, rounded);
      }
      expect_fine(run_heed(all()));
      EXPECT_EQ(read_bytes(out_), out) << name;
      EXPECT_EQ(read_bytes(lse_), lse) << name;
    }
  }
}

TEST_F(AttendTypes, TypesThatAreRefused) {
  const std::string rule = "\") must be some of q, k and v, with commas between";
  for (const std::string text : {"x", "q,", ",q", "qk", "q k"}) {
    expect_attend_fault(inputs() + Arguments{"--out", out_, "--bf16", text},
                        std::string("--bf16 (\"").append(text).append(rule));
  }
  const auto refused = [&](const Arguments& options, const std::string& part) {
    expect_attend_fault(inputs() + Arguments{"--out", out_} + options, part);
  };
  refused({"--bf16", "k"},
          "--k " + k_ + ": dtype must be uint16, which --bf16 takes for the bits of bfloat16");
  refused({"--out-type", "q8_0"}, "--out-type (\"q8_0\") must be f32, f16 or bf16");
  refused({"--q-type", "f64"},
          "--q-type (\"f64\") must be one of f32, f16, bf16, int8, int4, fp8_e4m3, fp8_e5m2, q8_0, "
          "q4_0");
  refused({"--q-type", "q8_0"}, "q_type (q8_0) must be one of f32, f16, bf16");
  refused({"--group", "2"},
          "--group (\"2\") must be left out where neither keys nor values become int8 or int4");
  refused({"--group", "3", "--k-type", "int8"},
          "--group (\"3\") must be a divisor of the head_dim (2)");
  refused({"--group", "0", "--k-type", "int8"},
          "--group (\"0\") must be an integer from 1 to 1024");
  refused({"--kv-type", "q4_0"},
          "the head dimension of k (2) must be a multiple of 32, the elements of a block of q4_0");
}

}  // namespace
}  // namespace heed::tests
