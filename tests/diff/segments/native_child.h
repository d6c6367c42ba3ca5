// What NativeLdt and its child process share, and what the child does.
#pragma once

#include "fuzz/fx_image.h"
#include "segment_case.h"

namespace dualvm::segments {

// Memory that parent and child both map; the child sees code and data at kCode and kData as well.
struct NativeExchange {
    // The parent's question ...
    std::array<u64, 8> gpr;
    u64 rip, rflags;
    u64 cs, ss, ds, es;
    study::FxImage fx;
    // ... and the child's answer, in place of it; with:
    u64 signal, vector, error_code, cr2;
    bool endless;

    // Which step of its preparation failed, if one did, and how.
    const char* failed_step;
    int failed_errno;

    alignas(kPageSize) Bytes code;
    alignas(kPageSize) Bytes data;
};

// Never returns. `memory` is the file in which the NativeExchange lies, mapped at `exchange`; a byte from the socket
// `parent` asks for a case, a byte to it says that the case is done.
[[noreturn]] void native_child(NativeExchange* exchange, int memory, int parent);

}  // namespace dualvm::segments
