// Sentences for Status, and what becomes of exceptions.
#include "runtime/base/message.h"

#include <gtest/gtest.h>

#include <locale>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

namespace heed {
namespace {

template <class Exception>
Status status_of(const Exception& exception) {
  return detail::guarded([&]() -> Status { throw exception; });
}

TEST(Guarded, KeepsTheReasonOfAnException) {
  const Status status =
      status_of(std::system_error(EAGAIN, std::system_category(), "no thread could be started"));
  EXPECT_EQ(status.code(), StatusCode::internal);
  EXPECT_EQ(status.message(),
            "internal fault: no thread could be started: Resource temporarily unavailable");
  EXPECT_EQ(status_of(std::runtime_error("a reason")).message(), "internal fault: a reason");
}

TEST(Guarded, KnowsMemoryByItsCode) {
  EXPECT_EQ(status_of(std::bad_alloc()).code(), StatusCode::out_of_memory);
  EXPECT_EQ(status_of(std::bad_array_new_length()).code(), StatusCode::out_of_memory);
  EXPECT_EQ(status_of(std::bad_alloc()).message(), "out of memory");
}

TEST(Guarded, SaysThatAnExceptionHasNoReason) {
  EXPECT_EQ(status_of(3).message(), "internal fault: an exception of an unknown type");
}

Status check(const Status& first, bool second) {
  // The macro is one statement: the else belongs to this if.
  if (second)
    HEED_RETURN_IF_ERROR(first);
  else
    return {StatusCode::unsupported, "else"};
  return {};
}

TEST(ReturnIfError, IsOneStatement) {
  const Status fault(StatusCode::invalid_argument, "fault");
  EXPECT_EQ(check(fault, true).message(), "fault");
  EXPECT_TRUE(check({}, true).ok());
  EXPECT_EQ(check({}, false).message(), "else");
}

struct Thousands : std::numpunct<char> {
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(Sentences, DoNotDependOnTheHostsLocale) {
  const std::locale before = std::locale::global(std::locale(std::locale(), new Thousands));
  const Status status = detail::invalid("tokens (", 1234567, ") must be 1 or more");
  std::locale::global(before);
  EXPECT_EQ(status.message(), "tokens (1234567) must be 1 or more");
}

}  // namespace
}  // namespace heed
