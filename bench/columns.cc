#include "bench/columns.h"

#include <fmt/format.h>

#include <optional>

#include "heed/tensor_data.h"

namespace heed::bench {
namespace {

template <class Number>
Json or_null(const std::optional<Number>& number) {
  return number ? Json(*number) : Json(nullptr);
}

std::string or_dash(std::optional<double> number, const char* unit = "") {
  return number ? fmt::format("{:.1f}{}", *number, unit) : "-";
}

std::string name_of(DType type) { return std::string(dtype_info(type).name); }

Json copy_gbps(const Result& result) {
  if (!result.copies) return nullptr;
  return result.measured.limit_of(&LimitSample::copy);
}

Json lost(const Result& result) {
  return result.measured.counted ? Json(result.measured.lost()) : Json(nullptr);
}

std::string disturbance(const Result& result) {
  return result.measured.disturbance(result.threads);
}

std::string efficiency(const Result& result) {
  return result.efficiency ? or_dash(100 * *result.efficiency, "%") : "-";
}

const Column kColumns[] = {
    {"name", [](const Result& r) { return Json(r.name); }, "workload", 8,
     [](const Result& r) { return r.name; }},
    {"shape", [](const Result& r) { return Json(r.shape); }},
    {"kind", [](const Result& r) { return Json(r.kind); }},
    {"isa", [](const Result& r) { return Json(r.isa); }},
    {"q_type", [](const Result& r) { return Json(name_of(r.q_type)); }},
    {"kv_type", [](const Result& r) { return Json(name_of(r.kv_type)); }},
    {"layout", [](const Result& r) { return Json(r.layout); }},
    {"threads", [](const Result& r) { return Json(r.threads); }, "threads", 7,
     [](const Result& r) { return std::to_string(r.threads); }},
    {"runs", [](const Result& r) { return Json(r.measured.timing.runs); }},
    {"min_ms", [](const Result& r) { return Json(r.measured.timing.min_ms); }, "best ms", 9,
     [](const Result& r) { return fmt::format("{:.4f}", r.measured.timing.min_ms); }},
    {"median_ms", [](const Result& r) { return Json(r.measured.timing.median_ms); }, "median ms", 9,
     [](const Result& r) { return fmt::format("{:.4f}", r.measured.timing.median_ms); }},
    {"run_ms", [](const Result& r) { return Json(r.measured.run_ms); }},
    {"plan_ms", [](const Result& r) { return or_null(r.plan_ms); }},
    {"visible_scores", [](const Result& r) { return or_null(r.visible_scores); }},
    {"gflops", [](const Result& r) { return or_null(r.gflops()); }, "GFLOP/s", 7,
     [](const Result& r) { return or_dash(r.gflops()); }},
    {"gbps", [](const Result& r) { return Json(r.gbps()); }, "GB/s", 6,
     [](const Result& r) { return or_dash(r.gbps()); }},
    {"peak_gflops", [](const Result& r) { return Json(r.measured.limit_of(&LimitSample::peak)); }},
    {"tile_gflops", [](const Result& r) { return Json(r.measured.limit_of(&LimitSample::tile)); }},
    {"read_gbps", [](const Result& r) { return Json(r.measured.limit_of(&LimitSample::read)); }},
    {"copy_gbps", copy_gbps},
    {"percent_of_peak", [](const Result& r) { return or_null(r.percent_of_peak()); }, "of peak", 7,
     [](const Result& r) { return or_dash(r.percent_of_peak(), "%"); }},
    {"percent_of_tile", [](const Result& r) { return or_null(r.percent_of_tile()); }, "of tile", 7,
     [](const Result& r) { return or_dash(r.percent_of_tile(), "%"); }},
    {"percent_of_bandwidth", [](const Result& r) { return Json(r.percent_of_bandwidth()); },
     "of memory", 11,
     [](const Result& r) {
       return or_dash(r.percent_of_bandwidth(), r.copies ? "% copy" : "% read");
     }},
    {"efficiency", [](const Result& r) { return or_null(r.efficiency); }, "efficiency", 10,
     efficiency},
    {"max_error", [](const Result& r) { return Json(r.accuracy.max_error); }, "max error", 9,
     [](const Result& r) { return fmt::format("{:.1e}", r.accuracy.max_error); }},
    {"peak_spread", [](const Result& r) { return Json(r.measured.spread_of(&LimitSample::peak)); }},
    {"tile_spread", [](const Result& r) { return Json(r.measured.spread_of(&LimitSample::tile)); }},
    {"read_spread", [](const Result& r) { return Json(r.measured.spread_of(&LimitSample::read)); }},
    {"cores", [](const Result& r) { return Json(r.measured.cores()); }},
    {"lost", lost},
    {"disturbed",
     [](const Result& r) {
       const std::string words = disturbance(r);
       return words.empty() ? Json(nullptr) : Json(words);
     },
     "machine", 7,
     [](const Result& r) {
       const std::string words = disturbance(r);
       return words.empty() ? std::string("quiet") : words;
     }},
};

Json rate_json(const LimitRate& rate) { return {{"own", rate.own}, {"wall", rate.wall}}; }

Json limits_json(const Result& result) {
  Json list = Json::array();
  for (const LimitSample& sample : result.measured.limits) {
    list.push_back({{"peak", rate_json(sample.peak)},
                    {"tile", rate_json(sample.tile)},
                    {"read", rate_json(sample.read)},
                    {"copy", result.copies ? rate_json(sample.copy) : Json(nullptr)},
                    {"cores", sample.cores}});
  }
  return list;
}

Json slices_json(const Measurement& measured) {
  Json list = Json::array();
  for (const Slice& slice : measured.slices) {
    list.push_back({{"runs", slice.runs},
                    {"seconds", slice.seconds},
                    {"lost", measured.counted ? Json(slice.lost) : Json(nullptr)}});
  }
  return list;
}

}  // namespace

std::span<const Column> columns() { return kColumns; }

Json result_json(const Result& result) {
  Json json = Json::object();
  for (const Column& column : kColumns) json[std::string(column.key)] = column.value(result);
  json["samples_ms"] = result.measured.samples_ms;
  json["limits"] = limits_json(result);
  json["slices"] = slices_json(result.measured);
  return json;
}

}  // namespace heed::bench
