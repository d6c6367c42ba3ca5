// The host's CPU in LDT segments, in a child process (docs/decisions/0008).
#pragma once

#include <sys/types.h>

#include "segment_case.h"

namespace dualvm::segments {

struct NativeExchange;

class NativeLdt {
public:
    // An error says what this host refuses.
    static Expected<std::unique_ptr<NativeLdt>> create();
    ~NativeLdt();
    NativeLdt(const NativeLdt&) = delete;
    NativeLdt& operator=(const NativeLdt&) = delete;

    void run(const SegmentCase& c, Result& result);

private:
    NativeLdt() = default;
    Expected<void> start();
    Expected<void> try_stack();
    void stop();
    bool exchange();

    NativeExchange* shared_ = nullptr;
    int memory_ = -1, socket_ = -1;
    pid_t child_ = -1;
};

}  // namespace dualvm::segments
