// The bits of results, written down: the same on every architecture. Each ISA that fuses products
// with sums has them, and so has the oracle.
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::CaseSpec;

/// FNV-1a of 64 bits over the bits of floats, the lower byte first. All NaN are equal.
class Checksum {
 public:
  void add(std::span<const float> floats) {
    for (const float x : floats) {
      const std::uint32_t bits = x == x ? std::bit_cast<std::uint32_t>(x) : 0x7FC00000U;
      for (int shift = 0; shift < 32; shift += 8) {
        sum_ = (sum_ ^ (bits >> shift & 0xFFU)) * 0x100000001B3U;
      }
    }
  }
  std::uint64_t sum() const { return sum_; }

 private:
  std::uint64_t sum_ = 0xCBF29CE484222325U;
};

/// A case, and the checksums of all rows' outputs and log-sum-exps.
struct Known {
  const char* name;
  std::uint64_t out, lse;
  std::function<void(CaseSpec&)> change;
};

std::ostream& operator<<(std::ostream& stream, const Known& known) { return stream << known.name; }

void types(CaseSpec& spec, DType keys, DType values) {
  spec = with_types(spec, {DType::f32, keys, values, DType::f32});
}

// The outputs are the oracle's; the log-sum-exps, whose logarithm is the kernels' own, those of
// avx2.
const std::vector<Known> kKnown = {
    {"causal", 0x5865E3613DB9C8C3, 0xD89399ABE806C7B4, [](CaseSpec&) {}},
    {"window", 0x8F10206E3693A1F2, 0x9743BCABD92A0F1D,
     [](CaseSpec& s) { s.config.window_left = 21, s.config.keep_first = 3; }},
    {"sharp", 0x371A3EC025DFB878, 0x17CBA2B5D9D3C760,
     [](CaseSpec& s) { s.distribution = proof::Distribution::sharp; }},
    {"argmax", 0x3F5F9C4B33074D4A, 0x57ABD02E5990A705,
     [](CaseSpec& s) { s.config.temperature = 0; }},
    {"uniform", 0x6F2AB9A3863DF029, 0x84F9ACC77C903BF5,
     [](CaseSpec& s) { s.config.temperature = std::numeric_limits<float>::infinity(); }},
    {"odd_dims", 0xE609521C58393BDD, 0x5DF1EDD404CF82BD,
     [](CaseSpec& s) { s.config.head_dim = 37, s.config.value_head_dim = 19; }},
    {"sections", 0xC7F0FF63BFA9F021, 0xBDEF9D06DA8A66DC,
     [](CaseSpec& s) { s.queries = {1}, s.keys = {16800}; }},
    {"modifiers", 0x9974088D16F1AA78, 0x8DB4DEA1B217076B,
     [](CaseSpec& s) {
       s.modifiers = {.softcap = 5, .alibi = true, .sinks = true, .biases = proof::Biases::all};
     }},
    {"mask", 0x2F752078F4D3EC4A, 0xFE4B8A836DE9C404,
     [](CaseSpec& s) { s.mask = {.pattern = proof::Pattern::documents}; }},
    {"f16", 0x2133CBDC40CD12BD, 0x6E958816CDEE3DAB,
     [](CaseSpec& s) { types(s, DType::f16, DType::f16); }},
    {"bf16", 0x80C55AD60D9A7783, 0xFBB7FD1E7B30254E,
     [](CaseSpec& s) { types(s, DType::bf16, DType::bf16); }},
    {"products_of_bf16", 0xCEB3079C7F2FF240, 0x59D031B7756D674F,
     [](CaseSpec& s) {
       s = with_types(s, {DType::bf16, DType::bf16, DType::bf16, DType::f32});
     }},
    {"fp8", 0x2B28783CBBB5D501, 0x116A38954141E6C2,
     [](CaseSpec& s) { types(s, DType::fp8_e4m3, DType::fp8_e5m2); }},
    {"int8_int4", 0x4B253889497FE861, 0xF4036775FCEA0025,
     [](CaseSpec& s) {
       types(s, DType::int8, DType::int4);
       s.zero_points = true;
     }},
    {"q8_0_q4_0", 0x7FE109E7C6CDC439, 0x262B798F7AE9A161,
     [](CaseSpec& s) { types(s, DType::q8_0, DType::q4_0); }},
};

class SameBits : public testing::TestWithParam<Known> {};

TEST_P(SameBits, AsWrittenDown) {
  CaseSpec spec = spec_of({1, 2, 40}, {300, 17, 70});
  GetParam().change(spec);
  const proof::Case c(spec);
  const std::vector<proof::Row> rows = c.geometry().rows();
  Checksum oracle;
  for (const proof::Row& row : rows) {
    oracle.add(proof::oracle_row(c.geometry(), c.inputs(), row, proof::Arithmetic::fused).out);
  }
  EXPECT_EQ(oracle.sum(), GetParam().out) << std::hex << "the oracle has 0x" << oracle.sum();
  for (const std::string_view isa : supported_isas()) {
    if (proof::arithmetic_of(isa) != proof::Arithmetic::fused) continue;
    const Outputs outputs = run_case(c, on(isa, 2));
    Checksum out, lse;
    for (const proof::Row& row : rows) {
      out.add(out_of(c.geometry(), outputs, row));
      lse.add({outputs.lse.data() + c.geometry().lse(row), 1});
    }
    EXPECT_EQ(out.sum(), GetParam().out) << isa << std::hex << " has 0x" << out.sum();
    EXPECT_EQ(lse.sum(), GetParam().lse) << isa << std::hex << " has 0x" << lse.sum();
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SameBits, testing::ValuesIn(kKnown),
                         [](const auto& known) { return std::string(known.param.name); });

}  // namespace
}  // namespace heed::tests
