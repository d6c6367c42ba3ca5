// libFuzzer target: the input is a qcow image and what its guest does.
#include "fuzz_image.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    dualvm::storage::use_image(dualvm::storage::Format::Qcow, data, size);
    return 0;
}
