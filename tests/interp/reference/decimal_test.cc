// Decimal arithmetic by what it is for: sums and differences of decimal numbers come out decimal.
#include <gtest/gtest.h>

#include "test_cpu.h"

namespace dualvm::interp {
namespace {

class Decimal : public ::testing::Test {
protected:
    void SetUp() override { cpu_.enter_protected_mode(32); }

    // One instruction; returns AX.
    u64 run(std::initializer_list<u8> insn) {
        EXPECT_EQ(cpu_.run(std::vector<u8>(insn)), Flow::Next);
        return cpu_.gpr(RAX) & 0xffff;
    }
    bool carry() { return (cpu_.rflags() & rflags::CF) != 0; }

    static u64 bcd(unsigned n) { return n / 10 << 4 | n % 10; }

    TestCpu cpu_;
};

TEST_F(Decimal, DaaBehindAdd) {
    for (unsigned a = 0; a < 100; ++a) {
        for (unsigned b = 0; b < 100; ++b) {
            cpu_.gpr(RAX) = bcd(a);
            cpu_.gpr(RBX) = bcd(b);
            run({0x00, 0xd8});  // ADD AL, BL
            ASSERT_EQ(run({0x27}), bcd((a + b) % 100)) << a << " + " << b;
            ASSERT_EQ(carry(), a + b >= 100) << a << " + " << b;
        }
    }
}
TEST_F(Decimal, DasBehindSub) {
    for (unsigned a = 0; a < 100; ++a) {
        for (unsigned b = 0; b < 100; ++b) {
            cpu_.gpr(RAX) = bcd(a);
            cpu_.gpr(RBX) = bcd(b);
            run({0x28, 0xd8});  // SUB AL, BL
            ASSERT_EQ(run({0x2f}), bcd((a + 100 - b) % 100)) << a << " - " << b;
            ASSERT_EQ(carry(), a < b) << a << " - " << b;
        }
    }
}
TEST_F(Decimal, AaaBehindAddOfDigits) {
    for (unsigned a = '0'; a <= '9'; ++a) {
        for (unsigned b = '0'; b <= '9'; ++b) {
            cpu_.gpr(RAX) = a;
            cpu_.gpr(RBX) = b;
            run({0x00, 0xd8});
            const unsigned sum = a - '0' + b - '0';
            ASSERT_EQ(run({0x37}), u64{sum / 10} << 8 | sum % 10) << a << " + " << b;
        }
    }
}
TEST_F(Decimal, AasBehindSubOfDigits) {
    for (unsigned a = '0'; a <= '9'; ++a) {
        for (unsigned b = '0'; b <= '9'; ++b) {
            cpu_.gpr(RAX) = 0x500 | a;
            cpu_.gpr(RBX) = b;
            run({0x28, 0xd8});
            const u64 high = a < b ? 4 : 5;  // borrowed
            ASSERT_EQ(run({0x3f}), high << 8 | (a + 10 - b) % 10) << a << " - " << b;
            ASSERT_EQ(carry(), a < b);
        }
    }
}
TEST_F(Decimal, AamAndAadAreInverse) {
    for (unsigned n = 0; n < 100; ++n) {
        cpu_.gpr(RAX) = n;
        ASSERT_EQ(run({0xd4, 10}), u64{n / 10} << 8 | n % 10);
        ASSERT_EQ(run({0xd5, 10}), n);
    }
}
TEST_F(Decimal, AamByZeroChangesNothing) {
    cpu_.gpr(RAX) = 0x1234;
    const u64 flags = cpu_.rflags();
    const std::vector<u8> aam = {0xd4, 0};
    EXPECT_EQ(cpu_.run(aam), Flow::Fault);
    EXPECT_EQ(cpu_.state().fault.vector, DE);
    EXPECT_EQ(cpu_.gpr(RAX), 0x1234u);
    EXPECT_EQ(cpu_.rflags(), flags);
}

}  // namespace
}  // namespace dualvm::interp
