// heed generate: texts from prompts, with a model that the test writes and, where it is there, with
// a trained one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/llama/loaded_model.h"
#include "tests/llama/model_file.h"
#include "tests/support/run_command.h"

namespace heed::tests {
namespace {

using Arguments = std::vector<std::string>;

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A model, its tokenizer, and prompts in a file.
class ModelFiles {
 public:
  /// Writes both.
  ModelFiles(const ModelFile& model, const std::vector<PieceOfFile>& pieces)
      : model_(folder_.path("model.bin")), tokenizer_(folder_.path("tokenizer.bin")) {
    write_bytes(model_, model.bytes());
    write_bytes(tokenizer_, tokenizer_bytes(pieces));
  }
  /// Takes what is there.
  ModelFiles(std::string model, std::string tokenizer)
      : model_(std::move(model)), tokenizer_(std::move(tokenizer)) {}

  Arguments arguments() const { return {"generate", model_, "--tokenizer", tokenizer_}; }
  CommandResult generate(const Arguments& more) const { return run_heed(arguments() + more); }

  /// Writes prompts to a file.
  std::string file_of(const std::vector<std::string>& prompts) const {
    std::string lines;
    for (const std::string& prompt : prompts) lines += prompt + "\n";
    write_bytes(folder_.path("prompts"), lines);
    return folder_.path("prompts");
  }

  const Folder& folder() const { return folder_; }
  const std::string& model() const { return model_; }
  const std::string& tokenizer() const { return tokenizer_; }

 private:
  const Folder folder_;
  const std::string model_, tokenizer_;
};

/// Expects success, and nothing on standard error but how fast it was, after what was found where
/// something was. Returns standard output.
std::string out_of(const CommandResult& result) {
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_TRUE(result.err.ends_with(" tokens/s\n")) << result.err;
  const bool found =
      result.err.find(" tokens of prompts found in the cache\n") != std::string::npos;
  EXPECT_EQ(std::ranges::count(result.err, '\n'), found ? 2 : 1) << result.err;
  return result.out;
}

/// A prompt, and what it must become.
struct Expected {
  std::string prompt, steps, ids;
};

/// The lines begin with the ids that are expected; texts that run longer go on.
void expect_lines(const std::string& out, const std::vector<Expected>& texts) {
  std::istringstream lines(out);
  for (const Expected& text : texts) {
    std::string line;
    std::getline(lines, line);
    EXPECT_TRUE((line + " ").starts_with(text.ids + " ")) << line << "\nis not\n" << text.ids;
  }
  EXPECT_EQ(lines.peek(), std::istringstream::traits_type::eof());
}

/// With these options, alone and together, in chunks of several lengths.
void expect_texts(const ModelFiles& files, const std::vector<Expected>& texts,
                  const Arguments& options) {
  std::vector<std::string> prompts;
  std::string most_steps = "1";
  for (const Expected& text : texts) {
    prompts.push_back(text.prompt);
    most_steps =
        std::max(most_steps, text.steps, [](auto& a, auto& b) { return stoi(a) < stoi(b); });
    const Arguments alone = {"--prompt", text.prompt, "--steps", text.steps, "--ids"};
    EXPECT_EQ(out_of(files.generate(options + alone)), text.ids + "\n");
  }
  for (const char* chunk : {"1", "5", "256"}) {
    SCOPED_TRACE(std::string("chunks of ") + chunk);
    const Arguments together = {
        "--prompts", files.file_of(prompts), "--steps", most_steps, "--chunk", chunk, "--ids"};
    expect_lines(out_of(files.generate(options + together)), texts);
  }
}

/// In every way that must not matter.
void expect_always(const ModelFiles& files, const std::vector<Expected>& texts) {
  for (const std::string& isa : supported_command_isas()) {
    for (const char* threads : {"1", "2"}) {
      for (const char* page : {"1", "7", "16", "128"}) {
        SCOPED_TRACE(isa + ", " + threads + " threads, pages of " + page);
        expect_texts(files, texts, {"--isa", isa, "--threads", threads, "--page", page});
      }
    }
  }
}

std::string joined(const std::vector<std::int32_t>& ids) {
  std::string text;
  for (const std::int32_t id : ids) {
    if (!text.empty()) text += ' ';
    text += std::to_string(id);
  }
  return text;
}

std::vector<std::int32_t> split(const std::string& line) {
  std::istringstream numbers(line);
  return {std::istream_iterator<std::int32_t>(numbers), {}};
}

TEST(GenerateCommand, GivesTheSameTokensInEveryWay) {
  const std::vector<PieceOfFile> pieces = pieces_with({"ab", " a", "abab"});
  const ModelFile shape{.vocab_size = static_cast<std::int32_t>(pieces.size())};
  const ModelFiles files(random_model(shape, 6), pieces);
  LoadedModel loaded(files.model());
  std::vector<Expected> texts;
  for (const auto& [prompt, tokens] : std::vector<std::pair<std::string, std::size_t>>{
           {"ab b abab a", 8}, {"", 1}, {"b", 3}, {std::string(20, 'a'), 21}}) {
    std::string ids = out_of(files.generate({"--prompt", prompt, "--steps", "40", "--ids"}));
    ids.pop_back();
    EXPECT_GT(split(ids).size(), tokens);
    EXPECT_GT(loaded.smallest_lead(split(ids), tokens), LoadedModel::kClearLead);
    texts.push_back({prompt, "40", ids});
  }
  expect_always(files, texts);
}

TEST(GenerateCommand, ContinuesATrainedModelAsItsReferenceSays) {
  const std::string folder = std::string(HEED_SHARED_DIR) + "/models/";
  std::ifstream file(folder + "expected.jsonl");
  if (!file) GTEST_SKIP() << "no model in " << folder;
  const ModelFiles files(folder + "dreams-230k.bin", folder + "dreams-tok512.bin");
  std::vector<Expected> texts;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    const std::string prompt = json["prompt"], steps = std::to_string(json["steps"].get<int>());
    EXPECT_EQ(out_of(files.generate({"--prompt", prompt, "--steps", steps})),
              json["text"].get<std::string>() + "\n");
    texts.push_back({prompt, steps, joined(json["ids"])});
  }
  ASSERT_FALSE(texts.empty());
  expect_always(files, texts);
}

/// Tokens 3 + c are the bytes c: A → B → C → the end, and z → z.
ModelFiles chain_files() {
  constexpr auto of = [](char c) { return 3 + c; };
  std::vector<PieceOfFile> pieces = pieces_with({});
  pieces.push_back({0, " "});  // an even number of tokens
  const std::pair<std::int32_t, std::int32_t> steps[] = {
      {1, of('A')}, {of('A'), of('B')}, {of('B'), of('C')}, {of('C'), 1}, {of('z'), of('z')}};
  return {chain_model(static_cast<std::int32_t>(pieces.size()), steps), pieces};
}

TEST(GenerateCommand, PrintsTextsInTheOrderOfTheirPrompts) {
  const ModelFiles files = chain_files();
  const std::string file = files.file_of({"z", "", "A", "zzzzzzzzzzzz"});
  EXPECT_EQ(out_of(files.generate({"--prompts", file, "--steps", "5"})), "zzzz\nABC\nABC\nzzzz\n");
  EXPECT_EQ(out_of(files.generate({"--prompts", file, "--steps", "5", "--ids"})),
            "1 259 125 125 125 125\n1 68 69 70\n1 259 68 69 70\n1 259 125 125 125 125\n");
  EXPECT_EQ(out_of(files.generate({"--prompt", "B"})), "BC\n");
}

TEST(GenerateCommand, EndsWellWhereNobodyHearsHowFastItWas) {
  const ModelFiles files = chain_files();
  for (const char* const err : {"/dev/full", kClosed, kBrokenPipe}) {
    SCOPED_TRACE(err);
    const CommandResult result =
        run_heed_on({.err = err}, files.arguments() + Arguments{"--prompt", "A"});
    EXPECT_EQ(result.exit, 0);
    EXPECT_EQ(result.out, "ABC\n");
  }
}

TEST(GenerateCommand, NoticesEarlyThatStandardOutputCannotBeWritten) {
  const ModelFiles files = chain_files();
  for (const char* const out : {"/dev/full", kClosed}) {
    const CommandResult result =
        run_heed_on({.out = out}, files.arguments() + Arguments{"--prompt", "z"});
    expect_fault(result, "heed generate: standard output cannot be written: ");
  }
}

TEST(GenerateCommand, SaysWhichPromptHasNoProbabilities) {
  std::vector<PieceOfFile> pieces = pieces_with({});
  pieces.push_back({0, " "});
  const auto size = static_cast<std::int32_t>(pieces.size());
  const std::pair<std::int32_t, std::int32_t> steps[] = {{3 + 'A', 3 + 'B'}, {3 + 'B', 1}};
  ModelFile model = chain_model(size, steps);
  const auto n = static_cast<std::size_t>(size);
  for (std::size_t x = 0; x < n; ++x) model.weights[(3 + 'x') * n + x] = NAN;
  const ModelFiles files(model, pieces);
  const auto expect = [&](const std::vector<std::string>& prompts, const std::string& out,
                          const std::string& fault) {
    const CommandResult result = files.generate({"--prompts", files.file_of(prompts)});
    EXPECT_EQ(result.exit, 2);
    EXPECT_EQ(result.out, out);
    EXPECT_TRUE(result.err.ends_with("\nheed generate: " + fault + "\n")) << result.err;
  };
  const std::string sentence =
      "prompt 2: the model gives no probabilities at position 3: its logits are not finite";
  expect({"A", "x", "A"}, "AB\nx\nAB\n", sentence);
  expect({"A", "x", "x", "A", "xx"}, "AB\nx\nx\nAB\nxx\n", sentence + " (and so for 2 more)");
  const CommandResult json = files.generate({"--prompt", "x", "--json"});
  EXPECT_EQ(json.exit, 2);
  EXPECT_EQ(json.out, "{\"prompt\":1,\"text\":\"x\",\"end\":\"fault\",\"fault\":\"" +
                          sentence.substr(sentence.find("the model")) + "\"}\n");
}

TEST(GenerateCommand, ReadsPromptsOfOtherSystems) {
  const ModelFiles files = chain_files();
  const auto ids = [&](const std::vector<std::string>& lines) {
    return out_of(files.generate({"--prompts", files.file_of(lines), "--steps", "5", "--ids"}));
  };
  EXPECT_EQ(ids({"\xEF\xBB\xBFz\r", "\r", "A\r"}), ids({"z", "", "A"}));
}

TEST(GenerateCommand, CountsTheTokensThatItMade) {
  const ModelFiles files = chain_files();
  const std::string file = files.file_of({"z", ""});
  const CommandResult result = files.generate({"--prompts", file, "--steps", "5"});
  EXPECT_TRUE(result.err.starts_with("6 tokens in ")) << result.err;  // zzz and ABC
}

TEST(GenerateCommand, DrawsTheSameTextFromTheSameSeed) {
  const std::vector<PieceOfFile> pieces = pieces_with({"ab"});
  const ModelFile shape{.vocab_size = static_cast<std::int32_t>(pieces.size())};
  const ModelFiles files(random_model(shape, 6), pieces);
  const auto text = [&](const Arguments& more) {
    return out_of(files.generate(Arguments{"--prompt", "ab", "--ids"} + more));
  };
  const std::string greedy = text({}), drawn = text({"--temperature", "1", "--seed", "3"});
  EXPECT_EQ(text({"--temperature", "0", "--seed", "3"}), greedy);
  EXPECT_NE(drawn, greedy);
  EXPECT_EQ(text({"--temperature", "1", "--seed", "3"}), drawn);
  EXPECT_NE(text({"--temperature", "1", "--seed", "4"}), drawn);
  EXPECT_EQ(text({"--temperature", "1", "--seed", "3", "--top-p", "1e-20"}), greedy);
  EXPECT_EQ(text({"--temperature", "1", "--seed", "3", "--top-k", "1"}), greedy);
  EXPECT_EQ(text({"--temperature", "1", "--seed", "3", "--min-p", "1"}), greedy);
}

// Tokens are bytes here: all stop texts of several bytes lie across their borders.
TEST(GenerateCommand, EndsBeforeStopTexts) {
  const ModelFiles files = chain_files();
  const auto text = [&](const std::string& prompt, const Arguments& more) {
    return out_of(files.generate(Arguments{"--prompt", prompt, "--steps", "8"} + more));
  };
  EXPECT_EQ(text("A", {"--stop", "BC"}), "A\n");
  EXPECT_EQ(text("A", {"--stop", "C"}), "AB\n");
  EXPECT_EQ(text("A", {"--stop", "x", "--stop", "B"}), "A\n");
  EXPECT_EQ(text("A", {"--stop", "AB"}), "ABC\n") << "the prompt is none";
  EXPECT_EQ(text("A", {"--stop", "CD"}), "ABC\n") << "what only began belongs to the text";
  EXPECT_EQ(text("zzzz", {"--stop", "zz"}), "zzzz\n");
  EXPECT_EQ(text("z", {"--stop", "zzz", "--stop", "zz"}), "z\n") << "what ends first";
  EXPECT_EQ(text("A", {"--stop", "C", "--stop", "BC"}), "A\n") << "of these the longest";
  EXPECT_EQ(text("A", {"--stop", "[B,C]"}), "ABC\n") << "a text, no list";
  EXPECT_EQ(text("A", {"--stop", "BC", "--ids"}), "1 259 68 69 70\n") << "tokens are whole";
}

TEST(GenerateCommand, StopTextsEndTheirTextAlone) {
  const ModelFiles files = chain_files();
  const std::string file = files.file_of({"z", "A", "", "B"});
  EXPECT_EQ(out_of(files.generate({"--prompts", file, "--steps", "5", "--stop", "C"})),
            "zzzz\nAB\nAB\nB\n");
  EXPECT_TRUE(files.generate({"--prompts", file, "--steps", "5", "--stop", "z", "--stop", "B"})
                  .err.starts_with("5 tokens in "))
      << "z, B, A B, and C: no token is made after a stop text";
}

TEST(GenerateCommand, EndsBeforeTokensOfChoice) {
  const ModelFiles files = chain_files();
  const auto ids = [&](const Arguments& more) {
    return out_of(files.generate(Arguments{"--prompt", "A", "--steps", "7", "--ids"} + more));
  };
  EXPECT_EQ(ids({}), "1 259 68 69 70\n");
  EXPECT_EQ(ids({"--end-token", "70"}), "1 259 68 69\n");
  EXPECT_EQ(ids({"--end-token", "3", "--end-token", "69"}), "1 259 68\n");
  EXPECT_EQ(ids({"--end-token", "3"}), "1 259 68 69 70 1 68 69\n") << "1 is one of many then";
}

TEST(GenerateCommand, TakesEscapesWhereAsked) {
  const ModelFiles files = chain_files();
  const auto ids = [&](const std::string& prompt, const Arguments& more) {
    return out_of(files.generate(Arguments{"--prompt", prompt, "--steps", "12", "--ids"} + more));
  };
  EXPECT_EQ(ids(R"(a\n\r\t\\\x7aA)", {"--escapes"}), ids("a\n\r\t\\zA", {}));
  EXPECT_NE(ids(R"(\nA)", {}), ids("\nA", {}));
  const std::string file = files.file_of({"z", R"(\x41)"});
  EXPECT_EQ(
      out_of(files.generate({"--prompts", file, "--escapes", "--steps", "5", "--stop", R"(\x43)"})),
      "zzzz\nAB\n");
}

std::vector<nlohmann::json> json_lines(const std::string& out) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(out);
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(GenerateCommand, PrintsJsonAsTextsEnd) {
  const ModelFiles files = chain_files();
  const std::string file = files.file_of({"z", "A", "Az", "C"});
  const Arguments options = {"--prompts", file, "--steps", "6", "--stop", "B", "--json"};
  const auto line = [](int prompt, const char* text, const char* end) {
    return nlohmann::json{{"prompt", prompt}, {"text", text}, {"end", end}};
  };
  nlohmann::json stopped = line(2, "A", "stop");
  stopped["stop"] = "B";
  const std::vector<nlohmann::json> expected = {
      stopped, line(4, "C", "token"), line(3, "Azzzz", "steps"), line(1, "zzzzz", "steps")};
  std::vector<nlohmann::json> lines = json_lines(out_of(files.generate(options)));
  EXPECT_EQ(lines.front()["prompt"], 2) << "what ends first comes first";
  const auto by_number = [](const nlohmann::json& a, const nlohmann::json& b) {
    return a["prompt"] < b["prompt"];
  };
  std::ranges::sort(lines, by_number);
  std::vector<nlohmann::json> sorted = expected;
  std::ranges::sort(sorted, by_number);
  EXPECT_EQ(lines, sorted);

  const auto ids = json_lines(out_of(files.generate({"--prompt", "A", "--json", "--ids"})));
  ASSERT_EQ(ids.size(), 1U);
  EXPECT_EQ(ids[0]["ids"], (std::vector<int>{1, 259, 68, 69, 70}));
  EXPECT_EQ(ids[0]["text"], "ABC");
}

TEST(GenerateCommand, SaysWhatItFoundInTheCache) {
  const ModelFiles files = chain_files();
  const std::string file = files.file_of({"zzA", "zzzA", "", "zzA"});  // after 1 and a space
  const Arguments options = {"--prompts", file, "--steps", "9", "--page", "2"};
  const CommandResult text = files.generate(options);
  EXPECT_EQ(out_of(text), "zzABC\nzzzABC\nABC\nzzABC\n");
  EXPECT_TRUE(text.err.starts_with("8 tokens of prompts found in the cache\n")) << text.err;
  const auto lines = json_lines(out_of(files.generate(options + Arguments{"--json"})));
  ASSERT_EQ(lines.size(), 4U);
  for (const nlohmann::json& line : lines) {
    const int prompt = line["prompt"];
    const bool later = prompt == 2 || prompt == 4;
    EXPECT_EQ(line.contains("found"), later) << line;
    EXPECT_EQ(line.value("found", 0), later ? 4 : 0) << line;
  }
}

TEST(GenerateCommand, PrintsJsonOfAnyBytes) {
  const ModelFiles files = chain_files();
  const auto lines = json_lines(
      out_of(files.generate({"--prompt", R"(\xC3\n"A)", "--escapes", "--json", "--steps", "9"})));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["text"], "\xEF\xBF\xBD\n\"ABC");
}

TEST(GenerateCommand, Refuses) {
  const ModelFiles files = chain_files();
  const std::string no_lines = files.folder().path("empty");
  write_bytes(no_lines, "");
  const std::pair<Arguments, std::string> faults[] = {
      {{}, "heed generate: either --prompt or --prompts must be given"},
      {{"--prompt", "A", "--prompts", "x"}, "either --prompt or --prompts must be given"},
      {{"--prompts", "/no/such"}, "--prompts /no/such: cannot be read: No such file or directory"},
      {{"--prompts", "/"}, "--prompts /: cannot be read: Is a directory"},
      {{"--prompts", no_lines}, "--prompts " + no_lines + ": has no line"},
      {{"--prompts", ""}, "--prompts (\"\") must not be empty"},
      {{"--prompt", "A", "--steps", "0"}, "--steps (\"0\") must be an integer from 1 to 48"},
      {{"--prompt", "A", "--steps", "49"}, "--steps (\"49\") must be an integer from 1 to 48"},
      {{"--prompt", "A", "--chunk", "0"}, "--chunk (\"0\") must be an integer from 1 to 65536"},
      {{"--prompt", "A", "--page", "x"}, "--page (\"x\") must be an integer from 1 to 65536"},
      {{"--prompt", "A", "--kv", "int3"},
       "--kv (\"int3\") must be one of f32, f16, bf16, int8, int4, fp8_e4m3, fp8_e5m2, q8_0, q4_0"},
      {{"--prompt", "A", "--seed", "-1"}, "--seed (\"-1\") must be an integer from 0 to"},
      {{"--prompt", "A", "--top-p", "0"}, "--top-p (\"0\") must be a number above 0"},
      {{"--prompt", "A", "--top-k", "-1"}, "--top-k (\"-1\") must be an integer from 0 to"},
      {{"--prompt", "A", "--min-p", "2"}, "--min-p (\"2\") must be a number above 0"},
      {{"--prompt", "A", "--top-p", "1.1"}, "--top-p (\"1.1\") must be a number above 0"},
      {{"--prompt", "A", "--temperature", "-1"}, "--temperature (\"-1\") must be a number"},
      {{"--prompt", "A", "--threads", "0"}, "--threads (\"0\") must be an integer from 1 to 1024"},
      {{"--prompt", "A", "--isa", "sse9"}, "--isa (\"sse9\") must be one of"},
      {{"--prompt", "A", "--stop", ""}, "--stop (\"\") must be a text that is not empty"},
      {{"--prompt", "A", "--stop", "a\\q", "--escapes"},
       "--stop (\"a\\q\") has a backslash that begins none of \\n, \\r, \\t, \\\\ and \\xHH"},
      {{"--prompt", "a\\", "--escapes"}, "prompt 1 (\"a\\\") has a backslash that begins none of"},
      {{"--prompt", "\\x4", "--escapes"},
       "prompt 1 (\"\\x4\") has a backslash that begins none of"},
      {{"--prompt", "\\x4g", "--escapes"}, "prompt 1 (\"\\x4g\") has a backslash that begins none"},
      {{"--prompt", "A", "--end-token", "260"},
       "--end-token (\"260\") must be an integer from 0 to"},
      {{"--prompt", "A", "--end-token", "</s>"},
       "--end-token (\"</s>\") must be an integer from 0"},
      {{"--prompt", std::string(47, 'A')}, "prompt 1 has 49 tokens; the model's context has 48"},
  };
  for (const auto& [arguments, part] : faults) {
    SCOPED_TRACE(part);
    expect_fault(files.generate(arguments), part);
  }
}

TEST(GenerateCommand, RefusesFilesThatAreNoModel) {
  const ModelFiles files = chain_files();
  const auto expect = [&](const std::string& model, const std::string& tokenizer,
                          const std::string& part) {
    expect_fault(run_heed({"generate", model, "--tokenizer", tokenizer, "--prompt", "A"}), part);
  };
  expect(files.tokenizer(), files.tokenizer(), "tokenizer.bin: not a llama2.c checkpoint: ");
  expect(files.model(), files.model(), "model.bin: not a tokenizer of this model: ");
  expect("/no/such", files.tokenizer(), "/no/such: cannot be read: No such file");
  const std::string whole = read_bytes(files.model());
  write_bytes(files.model(), whole.substr(0, whole.size() / 2));
  expect(files.model(), files.tokenizer(), "model.bin: the checkpoint is truncated: it has ");
}

}  // namespace
}  // namespace heed::tests
