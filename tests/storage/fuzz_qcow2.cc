// libFuzzer target: the input is a qcow2 image and what its guest does.
#include "fuzz_image.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    dualvm::storage::use_image(dualvm::storage::Format::Qcow2, data, size);
    return 0;
}
