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
    {"causal", 0x6337D86473D659C2, 0x5163370B2F9D182F, [](CaseSpec&) {}},
    {"window", 0xEE3AF3D1174805E8, 0x3C69E9ADD4C7EF34,
     [](CaseSpec& s) { s.config.window_left = 21, s.config.keep_first = 3; }},
    {"sharp", 0x78A15E8DB16C1F6F, 0x3B011C64DAA83D0B,
     [](CaseSpec& s) { s.distribution = proof::Distribution::sharp; }},
    {"argmax", 0xAECDF7751115F560, 0x57ABD02E5990A705,
     [](CaseSpec& s) { s.config.temperature = 0; }},
    {"uniform", 0x8C421EEBDD440009, 0x84F9ACC77C903BF5,
     [](CaseSpec& s) { s.config.temperature = std::numeric_limits<float>::infinity(); }},
    {"odd_dims", 0x31A14C3852EA07A3, 0xECD9A806EC9FD068,
     [](CaseSpec& s) { s.config.head_dim = 37, s.config.value_head_dim = 19; }},
    {"sections", 0xBD3AE3D60110FC28, 0x36099F985CE91467,
     [](CaseSpec& s) { s.queries = {1}, s.keys = {16800}; }},
    {"modifiers", 0x04F21EDEC51983B0, 0x3DDADE1CBF813C44,
     [](CaseSpec& s) {
       s.modifiers = {.softcap = 5, .alibi = true, .sinks = true, .biases = proof::Biases::all};
     }},
    {"mask", 0x76A39194ED447176, 0xA82A4674BDE99ABE,
     [](CaseSpec& s) { s.mask = {.pattern = proof::Pattern::documents}; }},
    {"f16", 0xE6B4CAD07DF9DF3F, 0xD157A1D48AB04C2F,
     [](CaseSpec& s) { types(s, DType::f16, DType::f16); }},
    {"bf16", 0x681E027C7381910E, 0x467475846A14E283,
     [](CaseSpec& s) { types(s, DType::bf16, DType::bf16); }},
    {"products_of_bf16", 0x4944F2B1EC2FEBE6, 0xD34EA31BCD12EA2E,
     [](CaseSpec& s) {
       s = with_types(s, {DType::bf16, DType::bf16, DType::bf16, DType::f32});
     }},
    {"fp8", 0x421AF79593A41DD7, 0x1BED2DC112204C28,
     [](CaseSpec& s) { types(s, DType::fp8_e4m3, DType::fp8_e5m2); }},
    {"int8_int4", 0x21CC9CEF5C7C3CB3, 0x483F0A8D9319738F,
     [](CaseSpec& s) {
       types(s, DType::int8, DType::int4);
       s.zero_points = true;
     }},
    {"q8_0_q4_0", 0xD62468E7920954CB, 0x4A2A4A4C2257B825,
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
