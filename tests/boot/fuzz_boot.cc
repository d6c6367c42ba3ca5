// libFuzzer target: the first byte chooses the protocol, the rest is the kernel.
#include <cstdio>
#include <cstdlib>

#include "boot_any.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    using namespace dualvm;
    if (size == 0) return 0;
    const auto protocol = static_cast<boot::Protocol>(data[0] % 6);
    const std::string wrong = boot::what_is_wrong_with_booting({data + 1, size - 1}, protocol);
    if (!wrong.empty()) {
        std::fprintf(stderr, "%s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
