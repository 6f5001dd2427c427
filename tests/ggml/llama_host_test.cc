// The plug-in in llama.cpp's own libraries: greedy texts under every kind of cache, and requests
// that are cancelled anywhere.
//
//     llama_host_test MODEL.gguf EXPECTED.jsonl
//
// Each line of EXPECTED has the ids of a greedy text, "ids".
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

namespace {

using Ids = std::vector<llama_token>;

constexpr int kPromptIds = 8;  ///< of each text, which are given; the others must be found
constexpr int kRequests = 1000;

struct Options {
  int threads = 1, sequences = 1;
  bool unified = false;
  llama_flash_attn_type flash = LLAMA_FLASH_ATTN_TYPE_AUTO;
  ggml_type type = GGML_TYPE_F16;
};

std::string words(const Options& options) {
  return std::string(options.type == GGML_TYPE_F32 ? "f32" : "f16") + ", " +
         std::to_string(options.threads) + " threads, " + std::to_string(options.sequences) +
         " sequences, " + (options.unified ? "unified" : "streams") + ", flash attention " +
         (options.flash == LLAMA_FLASH_ATTN_TYPE_AUTO ? "auto" : "on");
}

/// Aborts a graph when it has been asked so many times; never where `left` is negative.
struct Countdown {
  int left = -1;
  static bool asked(void* data) {
    auto& countdown = *static_cast<Countdown*>(data);
    return countdown.left >= 0 && countdown.left-- == 0;
  }
};

using Context = std::unique_ptr<llama_context, decltype(&llama_free)>;

Context make_context(llama_model* model, const Options& options, Countdown& countdown) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(256 * options.sequences);
  params.n_seq_max = static_cast<std::uint32_t>(options.sequences);
  params.n_threads = params.n_threads_batch = options.threads;
  params.flash_attn_type = options.flash;
  params.kv_unified = options.unified;
  params.type_k = params.type_v = options.type;
  params.abort_callback = Countdown::asked;
  params.abort_callback_data = &countdown;
  return {llama_init_from_model(model, params), llama_free};
}

/// A batch of tokens, which grows.
class Batch {
 public:
  explicit Batch(int capacity) : batch_(llama_batch_init(capacity, 0, 1)) {}
  ~Batch() { llama_batch_free(batch_); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void clear() { batch_.n_tokens = 0; }
  void add(llama_token token, int position, int sequence, bool logits) {
    const int i = batch_.n_tokens++;
    batch_.token[i] = token;
    batch_.pos[i] = position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = sequence;
    batch_.logits[i] = logits ? 1 : 0;
  }
  const llama_batch& get() const { return batch_; }

 private:
  llama_batch batch_;
};

llama_token best_token(llama_context* context, int i, int vocabulary) {
  const float* const logits = llama_get_logits_ith(context, i);
  return static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits);
}

/// Continues texts side by side from their first ids; each step is one batch of all sequences.
bool texts_come_out(llama_context* context, int vocabulary, const std::vector<Ids>& texts) {
  Batch batch(kPromptIds * static_cast<int>(texts.size()));
  for (std::size_t s = 0; s < texts.size(); ++s) {
    for (int i = 0; i < kPromptIds; ++i) {
      batch.add(texts[s][static_cast<std::size_t>(i)], i, static_cast<int>(s), i + 1 == kPromptIds);
    }
  }
  std::vector<std::size_t> written(texts.size(), kPromptIds);
  while (batch.get().n_tokens > 0) {
    if (llama_decode(context, batch.get()) != 0) return false;
    const llama_batch done = batch.get();
    std::vector<std::pair<int, llama_token>> found;
    for (int i = 0; i < done.n_tokens; ++i) {
      if (done.logits[i] == 0) continue;
      found.emplace_back(done.seq_id[i][0], best_token(context, i, vocabulary));
    }
    batch.clear();
    for (const auto& [sequence, token] : found) {
      const auto s = static_cast<std::size_t>(sequence);
      const std::size_t position = written[s]++;
      if (token != texts[s][position]) return false;
      if (written[s] == texts[s].size()) continue;
      batch.add(token, static_cast<int>(position), sequence, true);
    }
  }
  return true;
}

int test_texts(llama_model* model, int vocabulary, const std::vector<Ids>& texts) {
  int failures = 0;
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_F32}) {
    for (const llama_flash_attn_type flash :
         {LLAMA_FLASH_ATTN_TYPE_AUTO, LLAMA_FLASH_ATTN_TYPE_ENABLED}) {
      for (const int threads : {1, 2}) {
        for (const int sequences : {1, 4}) {
          for (const bool unified : {false, true}) {
            const Options options{threads, sequences, unified, flash, type};
            Countdown never;
            const Context context = make_context(model, options, never);
            std::vector<Ids> chosen;
            chosen.reserve(static_cast<std::size_t>(sequences));
            for (int s = 0; s < sequences; ++s) {
              chosen.push_back(texts[static_cast<std::size_t>(s) % texts.size()]);
            }
            const bool ok = context && texts_come_out(context.get(), vocabulary, chosen);
            if (!ok) std::printf("other tokens than expected: %s\n", words(options).c_str());
            failures += ok ? 0 : 1;
          }
        }
      }
    }
  }
  return failures;
}

long resident_kib() {
  std::ifstream statm("/proc/self/statm");
  long pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/// Requests in one context, most of them cancelled after a random number of nodes; those that end
/// give the right token. Memory may grow in the first tenth alone.
int test_cancellation(llama_model* model, int vocabulary, const Ids& text) {
  Countdown countdown;
  const Context context = make_context(model, {.threads = 2}, countdown);
  std::mt19937 random(1);
  int failures = 0, cancelled = 0;
  long before = 0;
  for (int request = 0; request < kRequests; ++request) {
    if (request == kRequests / 10) before = resident_kib();
    llama_memory_clear(llama_get_memory(context.get()), true);
    const int length = 1 + static_cast<int>(random() % (text.size() - 1));
    Batch batch(length);
    for (int i = 0; i < length; ++i) {
      batch.add(text[static_cast<std::size_t>(i)], i, 0, i + 1 == length);
    }
    countdown.left = static_cast<int>(random() % 200);
    const int result = llama_decode(context.get(), batch.get());
    countdown.left = -1;
    if (result != 0) {
      ++cancelled;
    } else if (length >= kPromptIds && best_token(context.get(), length - 1, vocabulary) !=
                                           text[static_cast<std::size_t>(length)]) {
      ++failures;
    }
  }
  const long growth = resident_kib() - before;
  std::printf("%d of %d requests cancelled, %d wrong, memory grew by %ld KiB\n", cancelled,
              kRequests, failures, growth);
  if (cancelled == 0 || cancelled == kRequests) ++failures;
  if (growth > 4096) ++failures;
  return failures;
}

std::vector<Ids> read_texts(const char* path) {
  std::vector<Ids> texts;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    texts.push_back(nlohmann::json::parse(line).at("ids").get<Ids>());
  }
  return texts;
}

void be_silent(ggml_log_level, const char*, void*) {}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: llama_host_test MODEL.gguf EXPECTED.jsonl\n", stderr);
    return 2;
  }
  const std::vector<Ids> texts = read_texts(argv[2]);
  llama_log_set(be_silent, nullptr);
  ggml_backend_load_all_from_path(HEED_LLAMA_BINARIES);
  llama_model* const model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr || texts.empty()) {
    std::fputs("cannot read the model or the texts\n", stderr);
    return 2;
  }
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  const int failures =
      test_texts(model, vocabulary, texts) + test_cancellation(model, vocabulary, texts.front());
  llama_model_free(model);
  std::printf(failures == 0 ? "all texts as expected\n" : "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
