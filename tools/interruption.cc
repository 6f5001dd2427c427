#include "tools/interruption.h"

namespace heed::tools {

Interruption::Interruption() {
  noted_ = 0;
  struct sigaction note {};  // without SA_RESTART, so that nothing waits on
  note.sa_handler = [](int signal) { noted_ = signal; };
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    ::sigaction(kSignals[i], nullptr, &former_[i]);
    if (former_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &note, nullptr);
  }
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &former_pipe_);
}

Interruption::~Interruption() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    ::sigaction(kSignals[i], &former_[i], nullptr);
  }
  ::sigaction(SIGPIPE, &former_pipe_, nullptr);
  if (noted_ != 0) std::raise(noted_);
}

}  // namespace heed::tools
