#include "tools/heat_map.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "tools/status.h"

namespace heed::tools {
namespace {

constexpr std::int64_t kMostPoints = 1024;

Status fault(std::string_view option, const std::string& sentence) {
  return {StatusCode::unsupported, fmt::format("{} {}", option, sentence)};
}

/// Text in gnuplot's single quotes, within which only these are special.
std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += c == '\n' ? ' ' : c;
  }
  return result + "'";
}

/// Neighbours along an axis that make one point.
std::int64_t step_of(std::int64_t extent) {
  return std::max<std::int64_t>(1, (extent + kMostPoints - 1) / kMostPoints);
}

float mean(const HeatMap& map, std::int64_t row, std::int64_t column, std::int64_t rows,
           std::int64_t columns) {
  const std::int64_t last_row = std::min(row + rows, map.rows);
  const std::int64_t last_column = std::min(column + columns, map.columns);
  double sum = 0;
  for (std::int64_t i = row; i < last_row; ++i) {
    for (std::int64_t j = column; j < last_column; ++j) {
      sum += static_cast<double>(map.weights[static_cast<std::size_t>(i * map.columns + j)]);
    }
  }
  return static_cast<float>(sum / static_cast<double>((last_row - row) * (last_column - column)));
}

std::string script(const HeatMap& map) {
  return fmt::format(
      "set terminal pngcairo size 960,820 font 'sans,13'\n"
      "set title {} noenhanced\n"
      "set xlabel 'key'\nset ylabel 'query'\nset cblabel 'weight'\n"
      "set xrange [-0.5:{}]\nset yrange [{}:-0.5]\nset tics out nomirror\n"
      "set palette defined (0 '#ffffff', 0.15 '#fde2a7', 0.4 '#f08a3c', 0.7 '#b5293b', 1 "
      "'#2b0b3a')\n"
      "set cbrange [0:*]\nunset key\n"
      "plot $weights matrix using ($1*{}):($2*{}):3 with image pixels\n",
      in_quotes(map.title), static_cast<double>(map.columns) - 0.5,
      static_cast<double>(map.rows) - 0.5, step_of(map.columns), step_of(map.rows));
}

/// A word of the shell's.
std::string shell_word(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

/// A file in the folder for temporary ones that lives as long as this.
class ScriptFile {
 public:
  ScriptFile() {
    const int descriptor = ::mkstemp(path_.data());
    if (descriptor >= 0) file_ = ::fdopen(descriptor, "w");
  }
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  ~ScriptFile() {
    if (file_ != nullptr) std::fclose(file_);
    ::unlink(path_.c_str());
  }

  bool write(std::string_view text) {
    if (file_ == nullptr) return false;
    const bool whole = std::fwrite(text.data(), 1, text.size(), file_) == text.size();
    return std::fflush(file_) == 0 && whole;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "heed-plot-XXXXXX").string();
  std::FILE* file_ = nullptr;
};

}  // namespace

Status check_plotter(std::string_view option) {
  if (std::system("command -v gnuplot >/dev/null 2>&1") == 0) return {};
  return fault(option, "needs the program gnuplot: apt-get install gnuplot-nox");
}

Status draw(std::string_view option, const HeatMap& map, std::string& png) {
  std::string text = "$weights << end\n";
  const std::int64_t rows = step_of(map.rows), columns = step_of(map.columns);
  for (std::int64_t i = 0; i < map.rows; i += rows) {
    for (std::int64_t j = 0; j < map.columns; j += columns) {
      text += fmt::format("{:.4g} ", mean(map, i, j, rows, columns));
    }
    text += '\n';
  }
  text += "end\n" + script(map);
  ScriptFile file;
  if (!file.write(text)) return fault(option, "cannot write a script for gnuplot");
  std::FILE* const pipe =
      ::popen(("gnuplot " + shell_word(file.path()) + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return fault(option, "cannot start gnuplot");
  std::array<char, 65536> piece{};
  for (std::size_t got = 0; (got = std::fread(piece.data(), 1, piece.size(), pipe)) > 0;) {
    png.append(piece.data(), got);
  }
  if (::pclose(pipe) == 0 && png.starts_with("\x89PNG")) return {};
  return fault(option, "could not be drawn by gnuplot");
}

}  // namespace heed::tools
