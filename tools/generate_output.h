// What heed generate prints.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "heed/status.h"
#include "tools/llama/generation.h"
#include "tools/llama/text_stream.h"

namespace heed::tools {

struct GenerateFormat {
  bool ids = false;   ///< the numbers of tokens: in place of texts, or beside them in JSON
  bool json = false;  ///< an object on a line of its own for each text, as it ends
};

/// Prints texts, one after the other and each as far as it is known, or in JSON as they end.
class GenerateOutput {
 public:
  /// A stream for each of the texts, and the stop texts of all; both must stay.
  GenerateOutput(const GenerateFormat& format, std::span<llama::TextStream> streams,
                 std::span<const std::string> stops)
      : format_(format), streams_(streams), stops_(stops), printed_(streams.size()) {}

  /// Fails where standard output does not take them.
  Status print(std::span<const llama::Text> texts);

 private:
  void print_ended(std::span<const llama::Text> texts);
  void print_in_order(std::span<const llama::Text> texts);
  void print_json(std::size_t number, const llama::Text& text);

  GenerateFormat format_;
  std::span<llama::TextStream> streams_;
  std::span<const std::string> stops_;
  std::vector<bool> printed_;  ///< of JSON
  std::size_t text_ = 0;       ///< in order: the first that is not printed in full
  std::size_t known_ = 0;      ///< its bytes, or tokens, that are printed
};

}  // namespace heed::tools
