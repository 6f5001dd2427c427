// Every kind of .npy file that NumPy writes is read rightly or refused with a sentence that says
// why.
#include "tools/npy.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/run_command.h"
#include "tools/npy_header.h"

namespace heed::tests {
namespace {

using tools::Array;
using tools::npy_prologue;
using tools::read_npy;
using Shape = std::vector<std::int64_t>;

/// A file's start: magic, version, the length of the header, the header.
std::string prologue(int major, const std::string& header) {
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(major);
  bytes += '\0';
  std::size_t length = header.size();
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i, length >>= 8) {
    bytes += static_cast<char>(length & 0xFF);
  }
  return bytes + header;
}

std::string dictionary(const std::string& descr, const std::string& order,
                       const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

std::string header(const std::string& shape) { return dictionary("'<f4'", "False", shape); }

std::vector<float> counted(std::size_t n) {
  std::vector<float> data(n);
  for (std::size_t i = 0; i < n; ++i) data[i] = static_cast<float>(i) + 0.5F;
  return data;
}

class Npy : public testing::Test {
 protected:
  void expect_read(const std::string& bytes, const Shape& shape, const std::vector<float>& data) {
    write_bytes(path_, bytes);
    Array array;
    const Status status = read_npy(path_, array);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(array.shape, shape);
    EXPECT_EQ(array.data, data);
  }

  /// The message is the path, ": ", and exactly this sentence; the array stays as it was.
  void expect_refused(const std::string& bytes, const std::string& sentence) {
    write_bytes(path_, bytes);
    expect_refused_path(path_, sentence);
  }

  static void expect_refused_path(const std::string& path, const std::string& sentence) {
    Array array{{7}, {1.0F}};
    const Status status = read_npy(path, array);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), path + ": " + sentence);
    EXPECT_EQ(array.shape, Shape{7});
  }

  Folder folder_;
  const std::string path_ = folder_.path("x.npy");
};

TEST_F(Npy, ReadsEveryVersion) {
  for (const int major : {1, 2, 3}) {
    SCOPED_TRACE(major);
    expect_read(prologue(major, header("(2, 3)") + "    \n") + bytes_of(counted(6)), {2, 3},
                counted(6));
  }
}

TEST_F(Npy, ReadsEveryShape) {
  const std::string data = bytes_of(counted(6));
  expect_read(prologue(1, header("()")) + bytes_of(std::vector{0.5F}), {}, {0.5F});
  expect_read(prologue(1, header("(6,)")) + data, {6}, counted(6));
  expect_read(prologue(1, header("(1, 2, 1, 3)")) + data, {1, 2, 1, 3}, counted(6));
  expect_read(prologue(1, header("(2, 3, 1, 1, 1, 1, 1)")) + data, {2, 3, 1, 1, 1, 1, 1},
              counted(6));
  expect_read(prologue(1, header("(0,)")), {0}, {});
  expect_read(prologue(1, header("(3, 0, 9223372036854775807, 9223372036854775807)")),
              {3, 0, INT64_MAX, INT64_MAX}, {});
}

TEST_F(Npy, ReadsEveryWayToWriteTheDictionary) {
  const std::string data = bytes_of(counted(6));
  for (const char* text : {
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
           "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4', }\n",
           "{'fortran_order':False,'descr':'<f4','shape':(2,3)}",
           "  {  'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , }  \t\n\n",
           "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3)}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }\n",
       }) {
    SCOPED_TRACE(text);
    expect_read(prologue(1, text) + data, {2, 3}, counted(6));
  }
}

TEST_F(Npy, SwapsTheBytesOfBigEndianFiles) {
  const std::string bytes("\x3F\x80\x00\x00\xC0\x20\x00\x00", 8);
  expect_read(prologue(1, dictionary("'>f4'", "False", "(2,)")) + bytes, {2}, {1.0F, -2.5F});
}

TEST_F(Npy, TransposesFortranOrder) {
  // The element (i, j, k) of shape (2, 3, 2) lies at i + 2·j + 6·k.
  std::vector<float> fortran(12), expected;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 2; ++k) {
        const auto value = static_cast<float>(100 * i + 10 * j + k);
        fortran[static_cast<std::size_t>(i + 2 * j + 6 * k)] = value;
        expected.push_back(value);
      }
    }
  }
  const std::string start = prologue(1, dictionary("'<f4'", "True", "(2, 3, 2)"));
  expect_read(start + bytes_of(fortran), {2, 3, 2}, expected);
  expect_read(prologue(1, dictionary("'<f4'", "True", "(6,)")) + bytes_of(counted(6)), {6},
              counted(6));
  expect_read(prologue(1, dictionary("'<f4'", "True", "()")) + bytes_of(std::vector{2.0F}), {},
              {2.0F});
  expect_read(prologue(1, dictionary("'<f4'", "True", "(3, 0)")), {3, 0}, {});
}

TEST_F(Npy, ReadsDataLongerThanAStep) {
  const std::vector<float> data = counted((std::size_t{1} << 22) + 3);
  expect_read(prologue(1, header("(4194307,)")) + bytes_of(data), {4194307}, data);
}

TEST_F(Npy, ReadsFromAPipe) {
  const std::string pipe = folder_.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer(
      [&] { write_bytes(pipe, prologue(1, header("(6,)")) + bytes_of(counted(6))); });
  Array array;
  const Status status = read_npy(pipe, array);
  writer.join();
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(array.data, counted(6));
}

TEST_F(Npy, ReadsWhatIsWritten) {
  for (const Shape& shape : {Shape{}, Shape{6}, Shape{0, 4}, Shape{1, 2, 3, 1}, Shape(20, 1)}) {
    std::int64_t count = 0;
    ASSERT_TRUE(tools::count_elements(shape, count));
    const std::vector<float> data = counted(static_cast<std::size_t>(count));
    const std::string start = npy_prologue(shape);
    EXPECT_EQ(start.size() % 64, 0U);
    EXPECT_EQ(start.back(), '\n');
    EXPECT_EQ(start.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
    expect_read(start + bytes_of(data), shape, data);
  }
}

// Byte for byte what NumPy 1.14 to 1.23 write for such an array.
TEST_F(Npy, WritesTheHeaderOfNumpy) {
  EXPECT_NE(npy_prologue(Shape{3}, DType::f16).find("'descr': '<f2'"), std::string::npos);
  EXPECT_NE(npy_prologue(Shape{3}, DType::bf16).find("'descr': '<u2'"), std::string::npos);
  EXPECT_EQ(npy_prologue(Shape{1, 88, 4, 16}),
            std::string("\x93NUMPY\x01\x00\x76\x00", 10) +
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 88, 4, 16), }" +
                std::string(50, ' ') + "\n");
}

TEST_F(Npy, ReadsOtherFloats) {
  const auto typed = [](const std::string& descr, const std::string& bytes) {
    return prologue(1, dictionary("'" + descr + "'", "False", "(2,)")) + bytes;
  };
  // 1 and -2.5 as binary16 and binary64, little and big endian; 0.1 is rounded.
  expect_read(typed("<f2", std::string("\x00\x3C\x00\xC1", 4)), {2}, {1.0F, -2.5F});
  expect_read(typed(">f2", std::string("\x3C\x00\xC1\x00", 4)), {2}, {1.0F, -2.5F});
  const double doubles[] = {0.1, -2.5};
  expect_read(typed("<f8", std::string(reinterpret_cast<const char*>(doubles), sizeof doubles)),
              {2}, {0.1F, -2.5F});
  expect_read(typed(">f8", std::string("\x3F\xF0\0\0\0\0\0\0\xC0\x04\0\0\0\0\0\0", 16)), {2},
              {1.0F, -2.5F});
  Array array;
  write_bytes(path_, typed("<f2", std::string(4, '\0')));
  ASSERT_TRUE(read_npy(path_, array).ok());
  EXPECT_EQ(array.type, DType::f16);
}

TEST_F(Npy, ReadsWordsAsBfloat16WhereThatIsSaid) {
  const std::string words =
      prologue(1, dictionary("'<u2'", "False", "(2,)")) + std::string("\x80\x3F\x20\xC0", 4);
  write_bytes(path_, words);
  Array array;
  ASSERT_TRUE(read_npy(path_, array, tools::Words::bfloat16).ok());
  EXPECT_EQ(array.data, (std::vector{1.0F, -2.5F}));
  EXPECT_EQ(array.type, DType::bf16);
  expect_refused(words, "dtype (uint16) must be a floating-point one; bfloat16 needs --bf16");
  write_bytes(path_, prologue(1, header("(6,)")) + bytes_of(counted(6)));
  EXPECT_EQ(read_npy(path_, array, tools::Words::bfloat16).message(),
            path_ + ": dtype must be uint16, which --bf16 takes for the bits of bfloat16");
}

TEST_F(Npy, RefusesOtherTypes) {
  const std::string known =
      "float16, float32, float64 ('<f2', '<f4', '<f8') and uint16 that holds bfloat16 ('<u2')";
  for (const std::string type : {"<f1", "<f16", "|i1", "<i4", "|O", "<c8", "|S4", "<U2", "<V2",
                                 "=f4", "f4", "float32", "|f4", "", ">u4", "<M8[ns]"}) {
    const std::string quoted = "'" + type + "'";
    expect_refused(prologue(1, dictionary(quoted, "False", "(1,)")) + std::string(8, 'x'),
                   std::string("dtype (")
                       .append(quoted)
                       .append(") must be one of ")
                       .append(known)
                       .append(": convert it with .astype('float32')"));
  }
  expect_refused(prologue(1, dictionary("[('a', '<f4'), ('b', '<f4')]", "False", "(1,)")),
                 "dtype ([('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape...) must be "
                 "one of " +
                     known + ", and not structured");
  expect_refused(prologue(1, dictionary("('<f4', (2,))", "False", "(1,)")),
                 "dtype (('<f4', (2,)), 'fortran_order': False, 'shape': (1,), }) must be one of " +
                     known + ", and not structured");
}

TEST_F(Npy, RefusesMalformedShapes) {
  for (const std::string shape : {"(3)", "(-1, 2)", "(2, 3.0)", "(2,,3)", "(,)", "(2 3)", "(True,)",
                                  "(18446744073709551616,)", "((2,),)", "(2L L,)", "(0x2,)"}) {
    const std::string shown = shape == "((2,),)" ? "((2,)" : shape;
    expect_refused(prologue(1, header(shape)) + std::string(24, '\0'),
                   "shape (" + shown + ") must be a tuple of 64-bit integers of 0 or more");
  }
  for (const std::string shape : {"[2, 3]", "3", "None"}) {
    const Status status = [&] {
      write_bytes(path_, prologue(1, header(shape)) + std::string(24, '\0'));
      Array array;
      return read_npy(path_, array);
    }();
    EXPECT_TRUE(status.message().starts_with(path_ + ": shape (" + shape)) << status.message();
    EXPECT_TRUE(status.message().ends_with(" must be a tuple of 64-bit integers of 0 or more"));
  }
}

TEST_F(Npy, RefusesMoreDimensionsThanNumpyHas) {
  const auto ones = [](std::size_t count) {
    std::string shape = "(";
    for (std::size_t i = 0; i < count; ++i) shape += "1, ";
    return shape + ")";
  };
  expect_read(prologue(1, header(ones(64))) + bytes_of(counted(1)), Shape(64, 1), counted(1));
  for (const std::size_t count : {65U, 330'000U}) {
    expect_refused(prologue(2, header(ones(count))) + bytes_of(counted(1)),
                   "shape (" + ones(65).substr(0, 60) + "...) must have at most 64 dimensions");
  }
}

TEST_F(Npy, RefusesSizesBeyondTheAddressSpace) {
  for (const std::string shape : {"(9223372036854775807,)", "(4611686018427387904, 2)",
                                  "(65536, 65536, 65536, 65536)", "(2305843009213693952,)"}) {
    expect_refused(prologue(1, header(shape)), "shape " + shape + " must fit the address space");
  }
}

TEST_F(Npy, RefusesMissingData) {
  const std::string start = prologue(1, header("(2, 3)"));
  for (const std::size_t bytes : {0U, 1U, 23U}) {
    expect_refused(start + std::string(bytes, 'x'),
                   "has " + std::to_string(bytes) + " bytes of data; shape (2, 3) needs 24");
  }
  // Nothing is allocated for what is not there.
  expect_refused(prologue(1, header("(2305843009213693951,)")) + "1234",
                 "has 4 bytes of data; shape (2305843009213693951,) needs 9223372036854775804");
}

TEST_F(Npy, RefusesMoreThanOneArray) {
  expect_refused(prologue(1, header("(2,)")) + std::string(9, 'x'),
                 "goes on after the 8 bytes of data of shape (2,): it must hold one array");
  expect_refused(prologue(1, header("(0,)")) + "x",
                 "goes on after the 0 bytes of data of shape (0,): it must hold one array");
}

TEST_F(Npy, RefusesHeadersWithFaults) {
  const std::string good = header("(2,)");
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"", "the header must be a Python dictionary, not: "},
      {"[1]", "the header must be a Python dictionary, not: [1]"},
      {"{}", "the header must have the key 'descr'"},
      {"{'descr': '<f4', 'shape': (2,)}", "the header must have the key 'fortran_order'"},
      {"{'descr': '<f4', 'fortran_order': False}", "the header must have the key 'shape'"},
      {"{'descr': '<f4', 'descr': '<f4'}", "the header must have the key 'descr' only once"},
      {"{'kind': 1}", "the header key 'kind' must be one of descr, fortran_order, shape"},
      {"{'descr': '<f4', 'fortran_order': 0}", "fortran_order (0}) must be True or False"},
      {"{'descr': '<f4' 'shape': (2,)}", "the header is malformed at: 'shape': (2,)}"},
      {"{'descr", "the header is malformed at: 'descr"},
      {good.substr(0, good.size() - 1), "the header is malformed at: "},
      {good + "x", "the header must end with its dictionary, not: x"},
  };
  for (const auto& [text, sentence] : faults) {
    expect_refused(prologue(1, text) + std::string(8, '\0'), sentence);
  }
}

TEST_F(Npy, RefusesWhatEndsWithinItsHeader) {
  const std::string whole = prologue(2, header("(2,)"));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    SCOPED_TRACE(length);
    expect_refused(whole.substr(0, length), length < 6
                                                ? "must be an .npy file, but does not begin as one"
                                                : "ends within its header");
  }
  expect_refused(std::string("\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF", 12),
                 "the length of its header (4294967295) must be at most 1048576");
}

TEST_F(Npy, RefusesOtherFiles) {
  expect_refused("a text file of some length\n", "must be an .npy file, but does not begin as one");
  expect_refused("PK\x03\x04 and so on",
                 "must be a single array, not an .npz archive: save it with numpy.save");
  expect_refused(std::string("\x93NUMPY\x04\x00\x00\x00", 10),
                 "version 4.0 of the .npy format must be 1.0, 2.0 or 3.0");
  expect_refused(std::string("\x93NUMPY\x01\x01\x00\x00", 10),
                 "version 1.1 of the .npy format must be 1.0, 2.0 or 3.0");
  expect_refused_path(folder_.path("none.npy"), "cannot be read: No such file or directory");
  expect_refused_path(folder_.path("."), "is a directory, not an .npy file");
  expect_refused_path(path_ + "/x", "cannot be read: Not a directory");
}

// Every prefix of the header with any byte changed: whatever it is, no crash, and no success with
// data that the file does not have.
TEST_F(Npy, SurvivesAnyChangedByte) {
  const std::string whole = prologue(1, header("(2, 3)") + "\n") + bytes_of(counted(6));
  for (std::size_t i = 0; i < whole.size() - 24; ++i) {
    for (const int change : {1, 2, 8, 16, 32, 128}) {
      std::string bytes = whole;
      bytes[i] = static_cast<char>(bytes[i] ^ change);
      write_bytes(path_, bytes);
      Array array;
      if (read_npy(path_, array)) {
        EXPECT_LE(array.data.size(), 6U) << i << " ^ " << change;
      }
    }
  }
}

}  // namespace
}  // namespace heed::tests
