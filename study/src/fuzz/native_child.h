// The child process of NativeCpu: what the two share, and what it does.
#pragma once

#include "dualvm/study/ring3_case.h"
#include "fx_image.h"

namespace dualvm::study {

// Memory that parent and child both map. The child sees code and window at their own addresses, too, with the rights
// that they are to have there.
struct NativeExchange {
    // The parent's question ...
    std::array<u64, 16> gpr;
    u64 rip, rflags;
    u64 selector;  // of the code segment
    FxImage fx;
    // ... and the child's answer, in place of it; with:
    u64 signal, vector, error_code, cr2;

    alignas(kPageSize) std::array<u8, ring3::kCodeBytes> code;
    alignas(kPageSize) Window window;
};

// Never returns. `memory` is the file in which a NativeExchange lies, mapped at `exchange`; a byte from the socket
// `parent` asks for a case, a byte to it says that the case is done.
[[noreturn]] void native_child(NativeExchange* exchange, int memory, int parent);

}  // namespace dualvm::study
