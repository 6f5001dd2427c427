// Values of options: from text to numbers, with a sentence where that is not possible.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "heed/status.h"
#include "heed/tensor_data.h"

namespace heed::tools {

/// option ("text") must be rule.
Status bad_value(std::string_view option, std::string_view text, std::string_view rule);

/// An integer from `least` to `most`.
Status parse_integer(std::string_view option, std::string_view text, std::int64_t least,
                     std::int64_t most, std::int64_t& value);

/// Replaces \n, \r, \t, \\ and \xHH, a byte in hexadecimal, by what they stand for; `what` is the
/// text's name. Fails where anything else follows a backslash.
Status unescape(std::string_view what, std::string& text);

/// A line about a run on `used` threads where `asked` were wanted; empty where these are as many.
std::string note_of_threads(std::string_view who, int asked, int used);

/// A number of threads, 1 to 1024.
Status parse_threads(std::string_view option, std::string_view text, int& threads);

/// An element type by its name, such as f16.
Status parse_dtype(std::string_view option, std::string_view text, DType& type);
/// The same; no change where the text is empty.
Status parse_dtype(std::string_view option, std::string_view text, std::optional<DType>& type);

/// The names of all element types, with commas between.
std::string dtype_names();

/// "1,2,4": numbers of threads.
Status parse_thread_list(std::string_view option, std::string_view text, std::vector<int>& threads);

/// "LEFT,RIGHT", each an integer of 0 or more, or inf.
Status parse_window(std::string_view option, std::string_view text, std::int64_t& left,
                    std::int64_t& right);

/// A finite number in the range of float.
Status parse_scale(std::string_view option, std::string_view text, float& scale);

/// A float of 0 or more, or inf.
Status parse_temperature(std::string_view option, std::string_view text, float& temperature);

/// A float above 0, finite.
Status parse_softcap(std::string_view option, std::string_view text, float& softcap);

/// A float above 0, at most 1.
Status parse_probability(std::string_view option, std::string_view text, float& probability);

/// A number of 0 or more, below 1.
Status parse_part(std::string_view option, std::string_view text, double& part);

/// A number above 0, finite.
Status parse_seconds(std::string_view option, std::string_view text, double& seconds);

}  // namespace heed::tools
