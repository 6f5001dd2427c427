// Pictures of weights, drawn by gnuplot.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "heed/status.h"

namespace heed::tools {

/// A matrix as a picture: a row for each query, a column for each key.
struct HeatMap {
  std::string title;
  std::span<const float> weights;  ///< [rows, columns]
  std::int64_t rows = 0, columns = 0;
};

/// Whether gnuplot is there; fails with a sentence that says what to install.
Status check_plotter(std::string_view option);

/// Draws the picture, with axes and a scale, as the bytes of a .png file. Of large matrices each
/// point is the mean of as many neighbours as make at most 1024 of them.
Status draw(std::string_view option, const HeatMap& map, std::string& png);

}  // namespace heed::tools
