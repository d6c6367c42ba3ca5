#include "fx_image.h"

#include <cstring>

namespace dualvm::study {

namespace {

enum Offset : std::size_t { Fcw = 0, Fsw = 2, Ftw = 4, Fop = 6, Fip = 8, Fdp = 16, Mxcsr = 24, St = 32, Xmm = 160 };

template <class T>
void put(FxImage& image, std::size_t at, const T& value) {
    std::memcpy(image.data() + at, &value, sizeof value);
}
template <class T>
void get(const FxImage& image, std::size_t at, T& value) {
    std::memcpy(&value, image.data() + at, sizeof value);
}

// The image has registers in the order of the stack, FpuGroup has them in their own.
template <class Fpu>
auto& stack_register(Fpu& fpu, unsigned i) {
    return fpu.st[((fpu.fsw >> 11) + i) & 7];
}

}  // namespace

void to_fx_image(const FpuGroup& fpu, FxImage& image) {
    image = {};
    put(image, Fcw, fpu.fcw);
    put(image, Fsw, fpu.fsw);
    put(image, Ftw, fpu.ftw);
    put(image, Fop, fpu.fop);
    put(image, Fip, fpu.fip);
    put(image, Fdp, fpu.fdp);
    put(image, Mxcsr, fpu.mxcsr);
    for (unsigned i = 0; i < 8; ++i) {
        put(image, St + 16 * i, stack_register(fpu, i).significand);
        put(image, St + 16 * i + 8, stack_register(fpu, i).sign_exponent);
    }
    for (unsigned i = 0; i < 16; ++i) std::memcpy(image.data() + Xmm + 16 * i, fpu.vector[i].bytes.data(), 16);
}

void from_fx_image(const FxImage& image, FpuGroup& fpu) {
    get(image, Fcw, fpu.fcw);
    get(image, Fsw, fpu.fsw);
    get(image, Ftw, fpu.ftw);
    get(image, Fop, fpu.fop);
    get(image, Fip, fpu.fip);
    get(image, Fdp, fpu.fdp);
    get(image, Mxcsr, fpu.mxcsr);
    for (unsigned i = 0; i < 8; ++i) {
        get(image, St + 16 * i, stack_register(fpu, i).significand);
        get(image, St + 16 * i + 8, stack_register(fpu, i).sign_exponent);
    }
    for (unsigned i = 0; i < 16; ++i) std::memcpy(fpu.vector[i].bytes.data(), image.data() + Xmm + 16 * i, 16);
}

}  // namespace dualvm::study
