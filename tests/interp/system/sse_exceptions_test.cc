// Unmasked SIMD floating-point exceptions of instructions that compute in several steps.
#include <cmath>

#include "system_fixture.h"

namespace dualvm::interp {
namespace {

constexpr u32 kInvalid = 1, kOverflow = 8, kPrecision = 0x20, kAllMasked = 0x1f80;
constexpr u32 kMaskShift = 7;

class SseExceptions : public SystemTest {
protected:
    using Floats = std::array<float, 4>;

    // DPPS XMM0, XMM1, FFh with these exceptions unmasked; the flags it leaves.
    u32 dot_product(const Floats& a, const Floats& b, u32 unmasked) {
        long_mode();
        cpu().control.cr4 |= cr4::OSFXSR | cr4::OSXMMEXCPT;
        std::memcpy(s().fx.xmm[0].data(), a.data(), 16);
        std::memcpy(s().fx.xmm[1].data(), b.data(), 16);
        s().fx.mxcsr = kAllMasked & ~(unmasked << kMaskShift);
        const auto before = s().fx.xmm[0];
        flow_ = execute({0x66, 0x0f, 0x3a, 0x40, 0xc1, 0xff});
        unchanged_ = s().fx.xmm[0] == before;
        return s().fx.mxcsr & 0x3f;
    }
    Flow flow_ = Flow::Next;
    bool unchanged_ = false;
};

constexpr float kThird = 1 / 3.0F, kBig = 3e38F;
const float kInfinite = INFINITY;

TEST_F(SseExceptions, DotProductWithAnUnmaskedExceptionLeavesItsDestination) {
    const u32 flags = dot_product({kInfinite, kInfinite, kThird, 1}, {1, -1, kThird, 1}, kInvalid);
    EXPECT_EQ(flow_, Flow::Fault);
    EXPECT_EQ(s().fault.vector, XM);
    EXPECT_TRUE(unchanged_);
    // The products were inexact, and one of the sums that follow is invalid.
    EXPECT_EQ(flags, kInvalid | kPrecision);
}

TEST_F(SseExceptions, DotProductDoesNotFlagWhatWouldComeBehindAnUnmaskedException) {
    // An inexact product ends it; the sums would overflow.
    EXPECT_EQ(dot_product({kThird, 1, kBig, kBig}, {kThird, 1, 1, 1}, kPrecision), kPrecision);
    EXPECT_EQ(flow_, Flow::Fault);
    // An invalid product, and another that would overflow.
    EXPECT_EQ(dot_product({kInfinite, kBig, 1, 1}, {0, kBig, 1, 1}, kInvalid), kInvalid);
    EXPECT_EQ(flow_, Flow::Fault);
}

TEST_F(SseExceptions, DotProductWithoutAnUnmaskedExceptionFlagsAllOfItsSteps) {
    EXPECT_EQ(dot_product({kThird, 1, kBig, kBig}, {kThird, 1, 1, 1}, kInvalid), kPrecision | kOverflow);
    EXPECT_EQ(flow_, Flow::Next);
    EXPECT_FALSE(unchanged_);
}

}  // namespace
}  // namespace dualvm::interp
