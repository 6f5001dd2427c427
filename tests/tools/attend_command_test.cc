// heed attend: results, messages, and which files are there afterwards.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "heed/cpu.h"
#include "tests/support/run_command.h"
#include "tests/support/this_build.h"
#include "tests/tools/attend_case.h"

namespace heed::tests {
namespace {

/// The mean of values with weights exp(logit), and the logarithm of their sum.
struct Row {
  double sum = 0, weighted = 0;
  void add(double logit, double value) {
    sum += std::exp(logit);
    weighted += std::exp(logit) * value;
  }
  float out() const { return static_cast<float>(weighted / sum); }
  float lse() const { return static_cast<float>(std::log(sum)); }
};

// Rows (token, head): (0, 0) q = (0, 0); (0, 1) q = (1, 0); (1, 0) q = (0, 0); (1, 1) q = (0, 1).
// The LSE has heads outside tokens.
TEST_F(Attend, KnownResults) {
  const float log3 = std::log(3.0F), log2 = std::log(2.0F);
  Row first, last;
  for (int j = 0; j < 3; ++j) {
    constexpr double keys[3][2] = {{1, 0}, {2, 0}, {3, 5}}, values[3] = {1, 2, 6};
    first.add(keys[j][0], values[j]);
    last.add(keys[j][1], values[j]);
  }
  expect_out({"--scale", "1"}, {3, first.out(), 3, last.out()},
             {log3, log3, first.lse(), last.lse()});
  expect_out({"--temperature", "inf"}, {3, 3, 3, 3}, {log3, log3, log3, log3});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect_out({"--temperature", "0"}, {3, 6, 3, 6}, {nan, nan, nan, nan});
  // The last query stands at key 2, or at key 1.
  expect_out({"--temperature", "inf", "--causal", "end"}, {1.5, 1.5, 3, 3},
             {log2, log3, log2, log3});
  expect_out({"--temperature", "inf", "--causal", "start"}, {1, 1, 1.5, 1.5}, {0, log2, 0, log2});
  expect_out({"--temperature", "inf", "--causal", "end", "--window", "0,inf"}, {2, 2, 6, 6},
             {0, 0, 0, 0});
  expect_out({"--temperature", "inf", "--window", "inf,0"}, {1.5, 1.5, 3, 3},
             {log2, log3, log2, log3});
  expect_out({"--scale", "-2", "--temperature", "0"}, {3, 1, 3, 1.5}, {nan, nan, nan, nan});
}

TEST_F(Attend, ResultsDoNotDependOnThreads) {
  for (const std::string& isa : supported_command_isas()) {
    expect_fine(run_heed(all() + Arguments{"--isa", isa, "--threads", "1"}));
    const std::string out = read_bytes(out_), lse = read_bytes(lse_);
    EXPECT_EQ(run_heed(all() + Arguments{"--threads", "5"}, {{"HEED_ISA", isa}}).exit, 0);
    EXPECT_EQ(read_bytes(out_), out);
    EXPECT_EQ(read_bytes(lse_), lse);
  }
}

TEST_F(Attend, SaysHowManyThreadsItHas) {
  const std::string cpus = std::to_string(cpu_info().logical_cpus);
  expect_fine(run_heed(all() + Arguments{"--threads", cpus}));
  const CommandResult result = run_heed(all() + Arguments{"--threads", "1024"});
  EXPECT_EQ(result.exit, 0);
  EXPECT_EQ(result.err, "heed attend: threads: " + cpus +
                            " where 1024 are asked for, the most that this process can have\n");
}

TEST_F(Attend, HeadsOutsideTokens) {
  write_npy(q_, {{1, 2, 2, 2}, {0, 0, 0, 0, 1, 0, 0, 1}});
  write_npy(k_, {{1, 1, 3, 2}, {1, 0, 2, 0, 3, 5}});
  write_npy(v_, {{1, 1, 3, 1}, {1, 2, 6}});
  expect_out({"--layout", "bhsd", "--temperature", "inf", "--causal", "end"}, {1.5, 3, 1.5, 3},
             {std::log(2.0F), std::log(3.0F), std::log(2.0F), std::log(3.0F)});
}

/// [batch, seq, heads, dims] from [batch, heads, seq, dims], or the other way round.
Array with_middle_axes_swapped(const Array& from) {
  const std::size_t m = static_cast<std::size_t>(from.shape[1]);
  const std::size_t n = static_cast<std::size_t>(from.shape[2]);
  const std::size_t dims = static_cast<std::size_t>(from.shape[3]);
  Array to{{from.shape[0], from.shape[2], from.shape[1], from.shape[3]}, from.data};
  for (std::size_t i = 0; i < from.data.size(); ++i) {
    const std::size_t x = i % dims, b = i / dims % n, a = i / dims / n % m,
                      batch = i / dims / n / m;
    to.data[((batch * n + b) * m + a) * dims + x] = from.data[i];
  }
  return to;
}

TEST_F(Attend, BothLayoutsGiveTheSameBits) {
  const auto filled = [](const Shape& shape, float step) {
    std::int64_t count = 0;
    EXPECT_TRUE(tools::count_elements(shape, count));
    Array array{shape, {}};
    for (std::int64_t i = 0; i < count; ++i) {
      array.data.push_back(std::sin(step * static_cast<float>(i)));
    }
    return array;
  };
  const Array q = filled({2, 3, 4, 5}, 0.7F), k = filled({2, 6, 2, 5}, 1.1F),
              v = filled({2, 6, 2, 7}, 1.3F);
  write_npy(q_, q);
  write_npy(k_, k);
  write_npy(v_, v);
  expect_fine(run_heed(all() + Arguments{"--causal", "end"}));
  const Array out = read_array(out_), lse = read_array(lse_);
  EXPECT_EQ(out.shape, (Shape{2, 3, 4, 7}));
  EXPECT_EQ(lse.shape, (Shape{2, 4, 3}));
  write_npy(q_, with_middle_axes_swapped(q));
  write_npy(k_, with_middle_axes_swapped(k));
  write_npy(v_, with_middle_axes_swapped(v));
  expect_fine(run_heed(all() + Arguments{"--causal", "end", "--layout", "bhsd"}));
  const Array other = with_middle_axes_swapped(read_array(out_));
  EXPECT_EQ(other.shape, out.shape);
  EXPECT_EQ(other.data, out.data);
  EXPECT_EQ(read_array(lse_).data, lse.data);
}

TEST_F(Attend, NothingToSee) {
  write_npy(k_, {{1, 0, 1, 2}, {}});
  write_npy(v_, {{1, 0, 1, 1}, {}});
  expect_out({}, {0, 0, 0, 0}, {-kInfinity, -kInfinity, -kInfinity, -kInfinity});
}

TEST_F(Attend, NothingToDo) {
  write_npy(q_, {{1, 0, 2, 2}, {}});
  expect_fine(run_heed(all()));
  EXPECT_EQ(read_array(out_).shape, (Shape{1, 0, 2, 1}));
  EXPECT_EQ(read_array(lse_).shape, (Shape{1, 2, 0}));
  for (const std::string& path : {q_, k_, v_}) write_npy(path, {{0, 5, 1, 7}, {}});
  expect_fine(run_heed(all()));
  EXPECT_EQ(read_array(out_).shape, (Shape{0, 5, 1, 7}));
}

TEST_F(Attend, BadUsage) {
  expect_attend_fault({"attend"}, "--q is required");
  expect_attend_fault({"attend", "--q", q_, "--v", v_, "--out", out_}, "--k is required");
  expect_attend_fault(inputs(), "--out is required");
  expect_attend_fault(all() + Arguments{"--q", q_}, "--q must be given once");
  expect_attend_fault(all() + Arguments{"more"}, "argument (\"more\") must be one");
  expect_attend_fault(inputs() + Arguments{"--out", ""}, "--out (\"\") must not be empty");
  expect_attend_fault(inputs() + Arguments{"--out", out_, "--lse", ""}, "--lse (\"\") must not be");
}

TEST_F(Attend, BadValues) {
  const std::vector<std::pair<std::string, Arguments>> values = {
      {"--layout", {"bsdh", "BSHD", "0"}},
      {"--causal", {"yes", "START", "1"}},
      {"--window",
       {"3", "3,", ",3", "-1,3", "3,-1", "1.5,2", "1,2,3", "inf", "a,b", " 1,2",
        "9223372036854775808,0", "nan,0", "-inf,0", "Inf,0"}},
      {"--scale", {"x", "inf", "-inf", "nan", "1e39", "1,5", "0x10", "1 ", "--scale"}},
      {"--temperature", {"-1", "-0.001", "nan", "-inf", "hot", "1e39", "1e-60"}},
      {"--threads", {"0", "-1", "1.5", "1e1", "99999999999", "1025", "two", "+1"}},
  };
  for (const auto& [option, texts] : values) {
    for (const std::string& text : texts) {
      std::string fault = option;
      fault.append(" (\"").append(text).append("\") must be ");
      expect_attend_fault(all() + Arguments{option, text}, fault);
    }
  }
  expect_attend_fault(all() + Arguments{"--isa", "sse9"}, "--isa (\"sse9\") must be one of");
  expect_attend_fault(all(), "HEED_ISA (\"bogus\") must be one of", {{"HEED_ISA", "bogus"}});
  expect_attend_fault(all() + Arguments{"--scale", "1e38", "--temperature", "1e-9"},
                      "--scale (1e+38) / temperature (1e-09) exceeds");
}

TEST_F(Attend, BadShapes) {
  const auto expect = [&](const std::string& path, const Shape& shape, const std::string& part,
                          const Arguments& options = {}) {
    const std::string former = read_bytes(path);
    std::int64_t count = 0;
    ASSERT_TRUE(tools::count_elements(shape, count));
    write_npy(path, {shape, std::vector<float>(static_cast<std::size_t>(count))});
    expect_attend_fault(all() + options, part);
    write_bytes(path, former);
  };
  const std::string q = "--q " + q_, k = "--k " + k_, v = "--v " + v_;
  expect(q_, {4, 2}, q + ": shape (4, 2) must have the 4 dimensions [batch, seq, heads, head_dim]");
  expect(q_, {}, q + ": shape () must have the 4 dimensions");
  expect(k_, {1, 3, 1, 2, 1}, k + ": shape (1, 3, 1, 2, 1) must have the 4 dimensions");
  expect(v_, {6}, v + ": shape (6,) must have the 4 dimensions [batch, heads, seq, head_dim]",
         {"--layout", "bhsd"});
  expect(k_, {2, 3, 1, 2}, k + ": batch (2) must be that of " + q + " (1)");
  expect(v_, {3, 3, 1, 1}, v + ": batch (3) must be that of " + q + " (1)");
  expect(k_, {1, 3, 1, 4}, k + ": head_dim (4) must be that of " + q + " (2)");
  expect(v_, {1, 4, 1, 1}, v + ": seq (4) must be that of " + k + " (3)");
  expect(v_, {1, 3, 2, 1}, v + ": heads (2) must be that of " + k + " (1)");
  expect(q_, {1, 2, 0, 2}, q + ": heads (0) of shape (1, 2, 0, 2) must be from 1 to");
  expect(q_, {1, 2, 2, 0}, q + ": head_dim (0) of shape (1, 2, 2, 0) must be from 1 to 1024");
  expect(v_, {1, 3, 1, 1025},
         v + ": head_dim (1025) of shape (1, 3, 1, 1025) must be from 1 to 1024");
  expect(q_, {0, 3'000'000'000, 2, 2}, q + ": seq (3000000000) of shape ");
  write_npy(v_, {{1, 3, 3, 1}, std::vector<float>(9)});
  expect(k_, {1, 3, 3, 2}, k + ": heads (3) must divide those of " + q + " (2)");
}

TEST_F(Attend, BadFiles) {
  const std::string none = folder_.path("none.npy");
  expect_attend_fault({"attend", "--q", none, "--k", k_, "--v", v_, "--out", out_},
                      "--q " + none + ": cannot be read: No such file or directory");
  const std::string strange = folder_.path("a\nb\x1b.npy");
  expect_attend_fault({"attend", "--q", q_, "--k", k_, "--v", strange, "--out", out_},
                      "--v " + folder_.path("a\\nb\\x1b.npy") + ": cannot be read");
  write_bytes(v_, "text");
  expect_attend_fault(all(), "--v " + v_ + ": must be an .npy file");
}

TEST_F(Attend, OutputsThatWouldReplaceOtherFiles) {
  const std::string former = read_bytes(k_);
  expect_attend_fault(inputs() + Arguments{"--out", k_},
                      "--out (\"" + k_ + "\") must be another file");
  const std::string detour = folder_.path("./v.npy");
  expect_attend_fault(inputs() + Arguments{"--out", out_, "--lse", detour},
                      "--lse (\"" + detour + "\") must be another file than --v");
  expect_attend_fault(inputs() + Arguments{"--out", out_, "--lse", out_},
                      "--lse (\"" + out_ + "\") must be another file than --out");
  expect_attend_fault(inputs() + Arguments{"--out", out_, "--lse", folder_.path("./o.npy")},
                      "--lse (");
  const std::string other_name = folder_.path("other.npy");
  std::filesystem::create_hard_link(q_, other_name);
  expect_fault(run_heed(inputs() + Arguments{"--out", other_name}),
               "--out (\"" + other_name + "\") must be another file than --q");
  EXPECT_EQ(read_bytes(k_), former);
}

TEST_F(Attend, OutputsThatCannotBeWritten) {
  const std::string lost = folder_.path("none/o.npy");
  expect_attend_fault(
      inputs() + Arguments{"--out", lost},
      "--out " + lost + ": cannot be written: " + folder_.path("none") + " is not a folder");
  expect_attend_fault(inputs() + Arguments{"--out", out_, "--lse", lost}, "--lse " + lost);
  expect_attend_fault(inputs() + Arguments{"--out", folder_.path(".")},
                      "--out " + folder_.path(".") + ": cannot be written: it is a directory");
  if (std::filesystem::exists("/dev/full")) {
    expect_attend_fault(inputs() + Arguments{"--out", out_, "--lse", "/dev/full"},
                        "/dev/full: cannot be written: No space left on device");
  }
}

TEST_F(Attend, FullDisk) {
  write_npy(q_, {{1, 1000, 2, 2}, std::vector<float>(4000)});
  expect_fault(run_heed_with_limit(RLIMIT_FSIZE, 5000, all()),
               "o.npy: cannot be written: File too large");
  expect_inputs_only();
  // What was there before stays, also where only the second file fails.
  write_bytes(out_, "former out");
  write_bytes(lse_, "former lse");
  expect_fault(run_heed_with_limit(RLIMIT_FSIZE, 5000, all()), "o.npy: cannot be written");
  EXPECT_EQ(read_bytes(out_), "former out");
  const Arguments swapped = inputs() + Arguments{"--out", out_, "--lse", "/dev/full"};
  if (std::filesystem::exists("/dev/full")) {
    expect_fault(run_heed(swapped), "/dev/full: cannot be written");
    EXPECT_EQ(read_bytes(out_), "former out");
  }
  EXPECT_EQ(read_bytes(lse_), "former lse");
  EXPECT_EQ(folder_.names(),
            (std::vector<std::string>{"k.npy", "l.npy", "o.npy", "q.npy", "v.npy"}));
}

TEST_F(Attend, ReplacesFormerOutputs) {
  write_bytes(out_, "former out");
  const std::string link = folder_.path("link.npy");
  write_bytes(lse_, "former lse");
  ASSERT_EQ(symlink("l.npy", link.c_str()), 0);
  expect_fine(run_heed(inputs() + Arguments{"--out", out_, "--lse", link}));
  EXPECT_EQ(read_array(out_).shape, (Shape{1, 2, 2, 1}));
  EXPECT_EQ(read_array(lse_).shape, (Shape{1, 2, 2}));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(folder_.names(),
            (std::vector<std::string>{"k.npy", "l.npy", "link.npy", "o.npy", "q.npy", "v.npy"}));
}

/// Permission bits of a file.
unsigned mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777U;
}

TEST_F(Attend, PermissionsAreThoseOfTheFormerFileOrTheUmask) {
  const mode_t former = umask(0027);
  for (const unsigned mode : {0600U, 0666U, 0755U}) {
    write_bytes(out_, "former out");
    ASSERT_EQ(chmod(out_.c_str(), mode), 0);
    std::filesystem::remove(lse_);
    expect_fine(run_heed(all()));
    EXPECT_EQ(mode_of(out_), mode);
    EXPECT_EQ(mode_of(lse_), 0640U);
  }
  umask(former);
}

TEST_F(Attend, LinksThatLeadNowhereYet) {
  const std::string link = folder_.path("link.npy"), detour = folder_.path("detour.npy");
  ASSERT_EQ(symlink("o.npy", link.c_str()), 0);
  ASSERT_EQ(symlink(link.c_str(), detour.c_str()), 0);
  const std::string fault = "--lse (\"" + detour + "\") must be another file than --out";
  expect_fault(run_heed(inputs() + Arguments{"--out", out_, "--lse", detour}), fault);
  expect_fine(run_heed(inputs() + Arguments{"--out", detour}));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_TRUE(std::filesystem::is_symlink(detour));
  EXPECT_FALSE(std::filesystem::is_symlink(out_));
  EXPECT_EQ(read_array(out_).shape, (Shape{1, 2, 2, 1}));
}

TEST_F(Attend, LinksThatCannotBeFollowed) {
  const std::string link = folder_.path("link.npy"), lost = folder_.path("lost.npy");
  ASSERT_EQ(symlink("link.npy", link.c_str()), 0);
  ASSERT_EQ(symlink("none/o.npy", lost.c_str()), 0);
  expect_fault(run_heed(inputs() + Arguments{"--out", link}),
               "--out " + link + ": cannot be written: Too many levels of symbolic links");
  expect_fault(
      run_heed(inputs() + Arguments{"--out", lost}),
      "--out " + lost + ": cannot be written: " + folder_.path("none") + " is not a folder");
  EXPECT_EQ(folder_.names(),
            (std::vector<std::string>{"k.npy", "link.npy", "lost.npy", "q.npy", "v.npy"}));
}

TEST_F(Attend, MemoryThatIsExhausted) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need more addresses than the limit allows";
  if (emulated()) GTEST_SKIP() << "the limit is that of the emulator";
  // No numbers at all, but a plan of some gigabytes.
  for (const std::string& path : {q_, k_, v_}) write_npy(path, {{1 << 24, 0, 1, 1}, {}});
  const CommandResult result = run_heed_with_limit(RLIMIT_AS, std::uint64_t{1} << 30, all());
  expect_fault(result, "heed attend: out of memory");
  expect_inputs_only();
}

/// A pipe with a name, and a reader that is there but does not read, if wanted.
class NamedPipe {
 public:
  NamedPipe(std::string path, bool has_reader) : path_(std::move(path)) {
    EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0);
    if (has_reader) reader_ = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  }
  ~NamedPipe() {
    if (reader_ >= 0) close(reader_);
    unlink(path_.c_str());
  }
  NamedPipe(const NamedPipe&) = delete;
  NamedPipe& operator=(const NamedPipe&) = delete;

  bool has_data() const {
    pollfd events{reader_, POLLIN, 0};
    return poll(&events, 1, 0) == 1;
  }

 private:
  std::string path_;
  int reader_ = -1;
};

TEST_F(Attend, SignalsEndItWhileItWaitsForAReader) {
  const std::string path = folder_.path("pipe");
  const std::size_t others = folder_.names().size() + 1;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    for (const bool lse_is_pipe : {false, true}) {
      SCOPED_TRACE(signal);
      const NamedPipe pipe(path, false);
      const Arguments outputs = lse_is_pipe ? Arguments{"--out", out_, "--lse", path}
                                            : Arguments{"--out", path, "--lse", lse_};
      // Another file is there from when it writes until it ends.
      const auto ready = [&] { return folder_.names().size() > others; };
      EXPECT_EQ(interrupt_heed(inputs() + outputs, signal, ready).exit, 128 + signal);
      unlink(path.c_str());
      expect_inputs_only();
    }
  }
}

TEST_F(Attend, SignalsEndItWhileAReaderIsSlow) {
  const std::string path = folder_.path("pipe");
  write_npy(q_, {{1, 100'000, 2, 2}, std::vector<float>(400'000)});
  const NamedPipe pipe(path, true);
  const CommandResult result = interrupt_heed(inputs() + Arguments{"--out", path, "--lse", lse_},
                                              SIGTERM, [&] { return pipe.has_data(); });
  EXPECT_EQ(result.exit, 128 + SIGTERM);
  unlink(path.c_str());
  expect_inputs_only();
}

TEST_F(Attend, APipeThatIsClosed) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  const std::string path = "/dev/fd/" + std::to_string(ends[1]);
  expect_attend_fault(inputs() + Arguments{"--out", path, "--lse", lse_},
                      path + ": cannot be written: Broken pipe");
  close(ends[1]);
}

TEST_F(Attend, WritesToStandardOutput) {
  const CommandResult result = run_heed(inputs() + Arguments{"--out", "/dev/stdout"});
  expect_fine(result);
  expect_fine(run_heed(all()));
  EXPECT_EQ(result.out, read_bytes(out_));
}

// As { echo A; heed ...; echo B; } > file.
TEST_F(Attend, WritesToStandardOutputBetweenWhatOthersWrite) {
  expect_fine(run_heed(all()));
  const std::string out = read_bytes(out_), lse = read_bytes(lse_);
  const auto printed = [&](const Arguments& outputs) {
    const CommandResult result = run_heed_between("A\n", "B\n", inputs() + outputs);
    expect_fine(result);
    return result.out;
  };
  EXPECT_EQ(printed({"--out", "/dev/stdout"}), "A\n" + out + "B\n");
  EXPECT_EQ(printed({"--out", out_, "--lse", "/dev/fd/1"}), "A\n" + lse + "B\n");
  EXPECT_EQ(printed({"--out", "/proc/self/fd/1", "--lse", "/dev/stdout"}),
            "A\n" + out + lse + "B\n");
}

/// The tensors of one layer of a trained language model.
class AttendRealTensors : public testing::TestWithParam<const char*> {};

TEST_P(AttendRealTensors, ReproducesThemOnEveryIsa) {
  const std::string data = std::string(HEED_SHARED_DIR) + "/data/" + GetParam() + "/";
  if (!std::filesystem::exists(data + "q.npy")) GTEST_SKIP() << "no tensors in " << data;
  const Folder folder;
  const std::string out = folder.path("o.npy");
  const Array expected = read_array(data + "out.npy"), v = read_array(data + "v.npy");
  // At least 1; the bound for each row, with the values that it sees, is checked by
  // real_tensors_test.
  float largest = 1;
  for (const float x : v.data) largest = std::max(largest, std::abs(x));
  std::string fused;
  for (const std::string& isa : supported_command_isas()) {
    std::string first;
    for (const char* const threads : {"1", "2"}) {
      SCOPED_TRACE(isa + " on " + threads);
      expect_fine(
          run_heed({"attend", "--causal", "end", "--q", data + "q.npy", "--k", data + "k.npy",
                    "--v", data + "v.npy", "--out", out, "--isa", isa, "--threads", threads}));
      const Array actual = read_array(out);
      ASSERT_EQ(actual.shape, expected.shape);
      for (std::size_t i = 0; i < actual.data.size(); ++i) {
        ASSERT_NEAR(actual.data[i], expected.data[i], 2e-6F * largest) << "element " << i;
      }
      const std::string bytes = read_bytes(out);
      if (first.empty()) first = bytes;
      EXPECT_EQ(bytes, first);
    }
    if (isa == "generic") continue;
    if (fused.empty()) fused = first;
    EXPECT_EQ(first, fused);
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, AttendRealTensors,
                         testing::Values("dreams-layer0", "dreams-layer3"), [](const auto& layer) {
                           std::string name = layer.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace heed::tests
