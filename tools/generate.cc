// heed generate: a small language model on heed's attention, from prompts to text.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/console.h"
#include "heed/cpu.h"
#include "heed/executor.h"
#include "heed/sampling.h"
#include "tools/arguments.h"
#include "tools/command.h"
#include "tools/generate_output.h"
#include "tools/llama/checkpoint.h"
#include "tools/llama/generation.h"
#include "tools/llama/model.h"
#include "tools/llama/text_stream.h"
#include "tools/llama/tokenizer.h"
#include "tools/status.h"
#include "tools/text_lines.h"

namespace heed::tools {
namespace {

/// The command line, as given; empty where an option is not.
struct GenerateOptions {
  std::string model, tokenizer, prompts;
  std::optional<std::string> prompt;  ///< may be empty
  std::string steps, temperature, top_k, top_p, min_p, seed, chunk, page, kv, threads, isa;
  std::vector<std::string> stops, end_tokens;
  bool escapes = false, ids = false, json = false;
};

/// What the options say, besides files.
struct Request {
  llama::GenerationOptions generation;
  std::vector<std::string> stops;
  int threads = 0;  ///< 0: heed chooses
};

/// How tokens are drawn, of what is given.
Status parse_rule(const GenerateOptions& o, SamplingRule& rule) {
  if (!o.temperature.empty()) {
    HEED_RETURN_IF_ERROR(parse_temperature("--temperature", o.temperature, rule.temperature));
  }
  if (!o.top_k.empty()) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    HEED_RETURN_IF_ERROR(parse_integer("--top-k", o.top_k, 0, most, rule.top_k));
  }
  if (!o.top_p.empty()) HEED_RETURN_IF_ERROR(parse_probability("--top-p", o.top_p, rule.top_p));
  if (o.min_p.empty() || o.min_p == "0") return {};
  return parse_probability("--min-p", o.min_p, rule.min_p);
}

/// What ends texts, of what is given.
Status parse_ends(const GenerateOptions& o, std::int64_t vocab_size, Request& request) {
  for (const std::string& text : o.stops) {
    std::string& stop = request.stops.emplace_back(text);
    if (o.escapes) HEED_RETURN_IF_ERROR(unescape("--stop", stop));
    if (stop.empty()) return bad_value("--stop", text, "a text that is not empty");
  }
  if (o.end_tokens.empty()) return {};
  request.generation.end_tokens.clear();
  for (const std::string& text : o.end_tokens) {
    std::int64_t token = 0;
    HEED_RETURN_IF_ERROR(parse_integer("--end-token", text, 0, vocab_size - 1, token));
    request.generation.end_tokens.push_back(static_cast<std::int32_t>(token));
  }
  return {};
}

Status parse_request(const GenerateOptions& o, const llama::ModelShape& shape, Request& request) {
  const std::int64_t context = shape.context;
  constexpr std::int64_t most_tokens = 1 << 16;
  llama::GenerationOptions& generation = request.generation;
  const auto integer = [](std::string_view option, const std::string& text, std::int64_t least,
                          std::int64_t most, std::int64_t& value) -> Status {
    return text.empty() ? Status() : parse_integer(option, text, least, most, value);
  };
  std::int64_t seed = 0;
  generation.steps = context;
  Status status = integer("--steps", o.steps, 1, context, generation.steps);
  if (status.ok()) status = integer("--chunk", o.chunk, 1, most_tokens, generation.chunk);
  if (status.ok()) status = integer("--page", o.page, 1, most_tokens, generation.page_tokens);
  if (status.ok()) {
    status = integer("--seed", o.seed, 0, std::numeric_limits<std::int64_t>::max(), seed);
  }
  generation.sampler.seed = static_cast<std::uint64_t>(seed);
  if (status.ok()) status = parse_rule(o, generation.sampler.rule);
  if (status.ok()) status = parse_ends(o, shape.vocab_size, request);
  if (status.ok() && !o.kv.empty()) {
    status = parse_dtype("--kv", o.kv, generation.kv_type);
  }
  if (status.ok() && !o.threads.empty()) {
    status = parse_threads("--threads", o.threads, request.threads);
  }
  return status;
}

/// The lines of the file, or the one prompt, as they are written.
Status read_texts(const GenerateOptions& o, std::vector<std::string>& prompts) {
  if (o.prompt.has_value() == !o.prompts.empty()) {
    return {StatusCode::invalid_argument, "either --prompt or --prompts must be given"};
  }
  if (o.prompt) {
    prompts = {*o.prompt};
    return {};
  }
  Status status = read_lines(o.prompts, prompts);
  if (status.ok()) return status;
  return {status.code(), fmt::format("--prompts {}", status.message())};
}

Status read_prompts(const GenerateOptions& o, std::vector<std::string>& prompts) {
  HEED_RETURN_IF_ERROR(read_texts(o, prompts));
  for (std::size_t i = 0; o.escapes && i < prompts.size(); ++i) {
    HEED_RETURN_IF_ERROR(unescape(fmt::format("prompt {}", i + 1), prompts[i]));
  }
  return {};
}

/// A fault of one of the prompts, which count from 1.
Status of_prompt(std::size_t number, const Status& fault) {
  return {fault.code(), fmt::format("prompt {}: {}", number, fault.message())};
}

Status encode_prompts(const llama::Tokenizer& tokenizer, const std::vector<std::string>& prompts,
                      std::int64_t context, std::vector<std::vector<std::int32_t>>& ids) {
  for (const std::string& prompt : prompts) {
    const Status status = tokenizer.encode(prompt, ids.emplace_back());
    if (!status) return of_prompt(ids.size(), status);
    if (std::ssize(ids.back()) <= context) continue;
    return {StatusCode::invalid_argument,
            fmt::format("prompt {} has {} tokens; the model's context has {}", ids.size(),
                        ids.back().size(), context)};
  }
  return {};
}

std::int64_t count_tokens(std::span<const llama::Text> texts) {
  std::int64_t tokens = 0;
  for (const llama::Text& text : texts) tokens += std::ssize(text.ids);
  return tokens;
}

std::int64_t count_found(std::span<const llama::Text> texts) {
  std::int64_t tokens = 0;
  for (const llama::Text& text : texts) tokens += text.found;
  return tokens;
}

/// The first of the texts that ended before their time, and how many others did.
Status first_fault(std::span<const llama::Text> texts) {
  const auto faulty = [](const llama::Text& text) { return !text.fault.ok(); };
  const auto first = std::ranges::find_if(texts, faulty);
  if (first == texts.end()) return {};
  Status fault = of_prompt(static_cast<std::size_t>(first - texts.begin()) + 1, first->fault);
  const auto others = std::ranges::count_if(texts, faulty) - 1;
  if (others == 0) return fault;
  return {fault.code(), fmt::format("{} (and so for {} more)", fault.message(), others)};
}

/// Runs to the end, printing what comes.
Status run_to_end(llama::Generation& generation, GenerateOutput printer) {
  const std::int64_t before = count_tokens(generation.texts());
  const auto start = std::chrono::steady_clock::now();
  HEED_RETURN_IF_ERROR(printer.print(generation.texts()));
  while (!generation.ended()) {
    HEED_RETURN_IF_ERROR(generation.step());
    HEED_RETURN_IF_ERROR(printer.print(generation.texts()));
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const std::int64_t tokens = count_tokens(generation.texts()) - before;
  if (const std::int64_t found = count_found(generation.texts()); found > 0) {
    bench::write_note(fmt::format("{} tokens of prompts found in the cache\n", found));
  }
  bench::write_note(fmt::format("{} tokens in {:.3f} s: {:.1f} tokens/s\n", tokens, time.count(),
                                static_cast<double>(tokens) / time.count()));
  return first_fault(generation.texts());
}

/// Half of what the weights leave of the memory that this process may use.
std::int64_t cache_bytes(const llama::Checkpoint& checkpoint) {
  return (cpu_info().memory_bytes - checkpoint.bytes) / 2;
}

Status generate(const GenerateOptions& o) {
  llama::Checkpoint checkpoint;
  llama::Tokenizer tokenizer;
  Request request;
  std::vector<std::string> prompts;
  std::vector<std::vector<std::int32_t>> ids;
  Status status = bench::check_output();
  if (status.ok()) status = read_prompts(o, prompts);
  if (status.ok()) status = llama::read_checkpoint(o.model, checkpoint);
  const llama::ModelShape& shape = checkpoint.shape;
  if (status.ok()) status = parse_request(o, shape, request);
  if (status.ok()) status = llama::Tokenizer::read(o.tokenizer, shape.vocab_size, tokenizer);
  if (status.ok()) status = encode_prompts(tokenizer, prompts, shape.context, ids);
  if (!status) return status;
  request.generation.cache_bytes = cache_bytes(checkpoint);

  Executor executor;
  if (request.threads > 0) {
    HEED_RETURN_IF_ERROR(Executor::create(request.threads, executor));
    bench::write_note(note_of_threads("heed generate", request.threads, executor.threads()));
  }
  const RunOptions run_options{.isa = o.isa,
                               .workers = request.threads,
                               .executor = request.threads > 0 ? &executor : nullptr};
  request.generation.sampler.run = run_options;
  llama::Model model;
  llama::Generation generation;
  std::vector<llama::TextStream> streams;
  request.generation.stops = [&](std::size_t text, std::span<const std::int32_t> tokens) {
    return streams[text].add(tokens[tokens.size() - 2], tokens.back());
  };
  status = llama::Model::create(checkpoint, run_options, model);
  if (status.ok()) {
    status = llama::Generation::create(model, request.generation, std::move(ids), generation);
  }
  if (!status) return status;
  for (const llama::Text& text : generation.texts()) {
    streams.emplace_back(tokenizer, request.stops, text.ids);
  }
  const GenerateFormat format{.ids = o.ids, .json = o.json};
  return run_to_end(generation, GenerateOutput(format, streams, request.stops));
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand("generate", kGenerateDescription);
  const auto o = std::make_shared<GenerateOptions>();
  const auto option = [&](const char* name, auto& value, const char* type,
                          const char* description) {
    return command->add_option(name, value, description)->type_name(type);
  };
  option("MODEL", o->model, "FILE", "The checkpoint")->required();
  option("--tokenizer", o->tokenizer, "FILE", "The model's tokenizer, as llama2.c has it")
      ->required();
  option("--prompt", o->prompt, kTextType, "The beginning of a text; may be empty");
  option("--prompts", o->prompts, "FILE", "One on each line, for texts that grow together");
  command->add_flag("--escapes", o->escapes,
                    "In prompts and stop texts \\n, \\r, \\t, \\\\ and \\xHH stand for bytes");
  option("--stop", o->stops, kTextType,
         "A text ends before this one, of what follows its prompt; may be given again")
      ->allow_extra_args(false);
  option("--end-token", o->end_tokens, "N", "A text ends before this token; may be given again (1)")
      ->allow_extra_args(false);
  option("--steps", o->steps, "N", "Positions of a text, its prompt's included (all of the model)");
  option("--temperature", o->temperature, "T|inf",
         "What logits are divided by: 0 always takes the largest (0)");
  option("--top-k", o->top_k, "K", "Only the K most probable tokens; 0: all (0)");
  option("--top-p", o->top_p, "P", "Of these the most probable ones that have P together (1)");
  option("--min-p", o->min_p, "P", "Of these those with P times the largest probability (0)");
  option("--seed", o->seed, "N", "Of the random numbers where the temperature is not 0 (0)");
  option("--chunk", o->chunk, "N", "Tokens of prompts that are read in one step (256)");
  option("--page", o->page, "N", "Tokens of a page of the cache (64)");
  option("--kv", o->kv, "TYPE",
         fmt::format("Element type of the cache: {} (f32)", dtype_names()).c_str());
  option("--threads", o->threads, "N",
         "Number of threads, matrix products apart, which run on OPENBLAS_NUM_THREADS (one per CPU "
         "that it may use)");
  option("--isa", o->isa, "NAME",
         "Instruction set, matrix products apart (HEED_ISA, else the best)");
  command->add_flag("--ids", o->ids, "Print the numbers of the tokens, one line for each text");
  command->add_flag("--json", o->json,
                    "Print a line of JSON for each text as it ends, with the number of its prompt");
  command->callback([o, &action] { action = [o] { return Outcome{generate(*o)}; }; });
}

}  // namespace heed::tools
