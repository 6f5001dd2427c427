// What ThreadSanitizer is to leave alone in every test.

/// oneTBB is not instrumented. When a process ends, the last of its threads frees what another had
/// handed to the system, and its reference count, which keeps the two apart, is not seen. So what
/// oneTBB itself hands to functions of libc is not looked at; what heed does within oneTBB's
/// threads is.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" const char* __tsan_default_suppressions() { return "called_from_lib:libtbb.so\n"; }
