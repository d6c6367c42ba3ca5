// Cases as files.
#include "dualvm/study/fuzz.h"
#include "runners.h"

namespace dualvm::study {
namespace {

Case full_case() {
    Case c = case_of({0x48, 0x01, 0xd8, 0x0f, 0x58, 0xc1});
    c.code_offset = 0x20;
    c.gpr[R15] = 0xfedcba9876543210;
    c.rflags |= rflags::CF | rflags::DF;
    c.fpu.fcw = 0x27f;
    c.fpu.fsw = 0x3800;
    c.fpu.ftw = 0x80;
    c.fpu.fop = 0x123;
    c.fpu.fip = 0x1000;
    c.fpu.fdp = 0x2000;
    c.fpu.mxcsr = 0x1fc0;
    c.fpu.st[7] = {0x8000000000000001, 0xbfff};
    c.fpu.vector[13].bytes[15] = 1;
    c.window[0] = 1;
    c.window[ring3::kWindowBytes - 1] = 2;
    return c;
}

TEST(CaseJson, WhatIsWrittenIsRead) {
    const Case c = full_case();
    const auto read = case_from_json(case_to_json(CpuModel::standard(), c, "a test"));
    ASSERT_TRUE(read) << read.error().text;
    EXPECT_EQ(*read, c);
}
TEST(CaseJson, HasAListing) {
    const std::string text = case_to_json(CpuModel::standard(), full_case(), "a test");
    EXPECT_NE(text.find("add rax, rbx"), std::string::npos) << text;
    EXPECT_NE(text.find("addps xmm0, xmm1"), std::string::npos) << text;
}
TEST(CaseJson, WhatIsNoCaseIsRefused) {
    for (const char* text :
         {"", "{", "[]", "{}", R"({"mode": 16, "code": "90"})", R"({"mode": 64, "code": ""})",
          R"({"mode": 64, "code": "9"})", R"({"mode": 64, "code": "xy"})", R"({"mode": 64, "code": 144})",
          R"({"mode": 64, "code": "90", "code_offset": "0x1000"})",
          R"({"mode": 64, "code": "90", "registers": {"r16": "0"}})",
          R"({"mode": 64, "code": "90", "registers": {"rax": "0x11112222333344445"}})",
          R"({"mode": 64, "code": "90", "fpu": {"xmm16": "00"}})",
          R"({"mode": 64, "code": "90", "fpu": {"r8": "0:0"}})", R"({"mode": 64, "code": "90", "fpu": {"r0": "0"}})",
          R"({"mode": 64, "code": "90", "memory": {"0x1fffffff": "00"}})",
          R"({"mode": 64, "code": "90", "memory": {"0x20002fff": "0000"}})"}) {
        const auto read = case_from_json(text);
        ASSERT_FALSE(read) << text;
        EXPECT_EQ(read.error().status, ExitStatus::BadImage);
        EXPECT_NE(read.error().text.find("not a case"), std::string::npos);
    }
}
TEST(CaseJson, BitsThatNoCaseMayHaveAreDropped) {
    const auto read = case_from_json(
        R"({"mode": 64, "code": "90", "registers": {"rflags": "0xffffffff"}, "fpu": {"mxcsr": "0xffffffff"}})");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->rflags, ring3::kFreeFlags | rflags::Fixed1 | rflags::IF);
    EXPECT_EQ(read->fpu.mxcsr, 0xffffu);
}

}  // namespace
}  // namespace dualvm::study
