// A text file gives the same lines whichever system wrote it.
#include "tools/text_lines.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/run_command.h"

namespace heed::tests {
namespace {

using Lines = std::vector<std::string>;

class TextLines : public testing::Test {
 protected:
  void expect_lines(const std::string& bytes, const Lines& expected) {
    write_bytes(path_, bytes);
    Lines lines;
    const Status status = tools::read_lines(path_, lines);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(lines, expected);
  }
  void expect_fault(const std::string& bytes, const std::string& sentence) {
    write_bytes(path_, bytes);
    Lines lines = {"former"};
    EXPECT_EQ(tools::read_lines(path_, lines).message(), path_ + ": " + sentence);
    EXPECT_EQ(lines, Lines{"former"});
  }

  Folder folder_;
  const std::string path_ = folder_.path("lines");
};

TEST_F(TextLines, OfEverySystemAreTheSame) {
  const Lines expected = {"one", "", "two and a half"};
  expect_lines("one\n\ntwo and a half\n", expected);
  expect_lines("one\n\ntwo and a half", expected);
  expect_lines("one\r\n\r\ntwo and a half\r\n", expected);
  expect_lines("one\r\n\ntwo and a half", expected);
  expect_lines("\xEF\xBB\xBFone\r\n\r\ntwo and a half\r\n", expected);
}

TEST_F(TextLines, KeepWhatEndsNoLine) {
  expect_lines("a\rb\n\r\r\nc\r", {"a\rb", "\r", "c\r"});
  expect_lines(
      "a\n\xEF\xBB\xBF"
      "b\n",
      {"a",
       "\xEF\xBB\xBF"
       "b"});
  expect_lines(std::string("a\0b\n", 4), {std::string("a\0b", 3)});
  expect_lines("\n", {""});
}

TEST_F(TextLines, AreRefusedWhereTheyAreNone) {
  expect_fault("", "has no line");
  expect_fault(std::string("\xFF\xFE"
                           "a\0\n\0",
                           6),
               "is in UTF-16: it must be in UTF-8");
  expect_fault(std::string("\xFE\xFF\0a\0\n", 6), "is in UTF-16: it must be in UTF-8");
  Lines lines;
  EXPECT_EQ(tools::read_lines(folder_.path("none"), lines).message(),
            folder_.path("none") + ": cannot be read: No such file or directory");
}

}  // namespace
}  // namespace heed::tests
