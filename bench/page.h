// Pages: figures of heed bench for a browser, in one file that needs no other and no network. What
// is on them is in bench/page/.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "heed/status.h"

namespace heed::bench {

/// A text, and the name of the file that it is from.
struct PageSource {
  std::string path, text;
};

/// What JSON files of bench/peers/run call themselves, and the version of what is in them.
inline constexpr std::string_view kPeersSchema = "heed-peers";
inline constexpr int kPeersSchemaVersion = 1;

/// Unsupported, with the reason in a sentence, where this heed was built without its page.
Status check_pages();

/// Makes a page of JSON texts of heed bench, one or more, and of one of bench/peers/run unless
/// `peers` is null. Fails with a sentence that begins with the path where a text is none of these,
/// and as check_pages().
Status make_page(std::span<const PageSource> benches, const PageSource* peers, std::string& page);

/// The page as it was compiled in, with {{data}} where figures belong; empty where there is none.
std::string_view page_text();

/// Why there is none; else empty.
std::string_view page_fault();

}  // namespace heed::bench
