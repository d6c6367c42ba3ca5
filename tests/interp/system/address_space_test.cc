// Translations of several PCIDs: what is kept, and what makes them go (SDM vol. 3A, 4.10.1, 4.10.4.1).
#include "block.h"
#include "control_registers.h"
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

constexpr u64 kPresent = 1, kWritable = 2, kUserPage = 4, kGlobal = 0x100, kOpen = kPresent | kWritable | kUserPage;
constexpr u64 kTable = kPageTables + 0x3000, kOtherTables = kPageTables + 0x4000;
constexpr u64 kPage = u64{2} << 20;  // linear; its entry is the first of kTable
constexpr u64 kKeep = u64{1} << 63;
constexpr u64 kHere = 1, kElsewhere = 2;  // PCIDs

class AddressSpaces : public SystemTest {
protected:
    void SetUp() override {
        SystemTest::SetUp();
        long_mode();
        store(kPageTables + 0x2000 + 8, kTable | kOpen);
        map(kData);
        ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::PCIDE | cr4::PGE), Flow::Jump);
        go_to(kHere);
    }
    void map(u64 physical, u64 flags = kOpen) { store(kTable, physical | flags); }
    void unmap() { store(kTable, u64{0}); }
    void go_to(u64 pcid, u64 keep = kKeep, u64 tables = kPageTables) {
        ASSERT_EQ(write_cr3(s(), tables | pcid | keep), Flow::Jump);
        s().blocks->refresh_mode(s());
    }
    bool reads(u64 linear = kPage) {
        u8 byte = 0;
        return read_linear(s(), linear, &byte, 1);
    }
    bool writes(u64 linear = kPage) {
        const u8 byte = 0x90;
        return write_linear(s(), linear, &byte, 1);
    }
    void invpcid(u64 type, u64 pcid, u64 linear) {
        store(kStack0, pcid);
        store(kStack0 + 8, linear);
        reg(RAX) = type;
        reg(RBX) = kStack0;
        ASSERT_EQ(execute({0x66, 0x0f, 0x38, 0x82, 0x03}), Flow::Jump);  // INVPCID RAX, [RBX]
    }
    void invlpg(u64 linear) {
        reg(RBX) = linear;
        ASSERT_EQ(execute({0x0f, 0x01, 0x3b}), Flow::Jump);  // INVLPG [RBX]
    }
    Block* code_at(u64 linear) {
        cpu().general.rip = linear;
        return s().blocks->find(s());
    }
};

TEST_F(AddressSpaces, WhatWasKeptIsFoundAgain) {
    ASSERT_TRUE(reads());
    unmap();  // which the CPU has not been told
    go_to(kElsewhere);
    EXPECT_FALSE(reads());
    go_to(kHere);
    EXPECT_TRUE(reads());
}

TEST_F(AddressSpaces, NothingIsKeptUnlessAskedFor) {
    ASSERT_TRUE(reads());
    unmap();
    go_to(kElsewhere);
    go_to(kHere, 0);
    EXPECT_FALSE(reads());
}

TEST_F(AddressSpaces, LoadingTheSamePcidAgainForgetsIt) {
    ASSERT_TRUE(reads());
    unmap();
    go_to(kHere, 0);
    EXPECT_FALSE(reads());
}

TEST_F(AddressSpaces, APcidThatGetsOtherTablesBeginsAnew) {
    store(kOtherTables, (kPageTables + 0x1000) | kOpen);
    ASSERT_TRUE(reads());
    unmap();
    go_to(kHere, kKeep, kOtherTables);
    EXPECT_FALSE(reads());
}

TEST_F(AddressSpaces, InvpcidForgetsThoseOfAnotherPcid) {
    for (u64 type = 0; type < 4; ++type) {
        map(kData);
        ASSERT_TRUE(reads()) << type;
        unmap();
        go_to(kElsewhere);
        invpcid(type, kHere, type == 0 ? kPage : 0);
        go_to(kHere);
        EXPECT_FALSE(reads()) << type;
    }
}

TEST_F(AddressSpaces, InvpcidLeavesThoseOfOtherPcidsAlone) {
    for (u64 type = 0; type < 2; ++type) {
        map(kData);
        ASSERT_TRUE(reads()) << type;
        unmap();
        invpcid(type, kElsewhere, kPage);
        EXPECT_TRUE(reads()) << type;
        go_to(kElsewhere);
        invpcid(type, kElsewhere, kPage);
        go_to(kHere);
        EXPECT_TRUE(reads()) << type;
        go_to(kHere, 0);
    }
}

TEST_F(AddressSpaces, InvlpgForgetsGlobalPagesOfEveryPcid) {
    map(kData, kOpen | kGlobal);
    ASSERT_TRUE(reads());
    unmap();
    go_to(kElsewhere);
    invlpg(kPage);
    go_to(kHere);
    EXPECT_FALSE(reads());
}

TEST_F(AddressSpaces, ChangesOfPagingForgetAll) {
    ASSERT_TRUE(reads());
    unmap();
    go_to(kElsewhere);
    ASSERT_EQ(write_cr4(s(), cr4::PAE | cr4::PCIDE), Flow::Jump);
    go_to(kHere);
    EXPECT_FALSE(reads());
}

TEST_F(AddressSpaces, TheOneLeftLongestAgoMakesRoom) {
    ASSERT_TRUE(reads());
    unmap();
    for (u64 pcid = 0; pcid < kAddressSpaces - 1; ++pcid) go_to(100 + pcid);
    go_to(kHere);
    EXPECT_TRUE(reads());
    for (u64 pcid = 0; pcid < kAddressSpaces; ++pcid) go_to(200 + pcid);
    go_to(kHere);
    EXPECT_FALSE(reads());
}

// What is known of stores under the one PCID must not hide them from code that was found under the other.
TEST_F(AddressSpaces, StoresToCodeAreSeenFromEveryPcid) {
    ASSERT_TRUE(writes());
    go_to(kElsewhere);
    store<u8>(kData, 0xc3);  // RET
    ASSERT_NE(code_at(kPage), nullptr);
    go_to(kHere);
    s().code_written = false;
    ASSERT_TRUE(writes());
    EXPECT_TRUE(s().code_written);
}

TEST_F(AddressSpaces, CodeIsFoundByThePcidsOwnMap) {
    store<u8>(kData, 0xc3);  // RET
    store<u8>(kData + kPageSize, 0xc3);
    ASSERT_EQ(code_at(kPage)->physical, kData);
    map(kData + kPageSize);
    go_to(kElsewhere);
    EXPECT_EQ(code_at(kPage)->physical, kData + kPageSize);
}

TEST_F(AddressSpaces, InvpcidForgetsWhereAnotherPcidFoundCode) {
    store<u8>(kData, 0xc3);  // RET
    store<u8>(kData + kPageSize, 0xc3);
    ASSERT_EQ(code_at(kPage)->physical, kData);
    map(kData + kPageSize);
    go_to(kElsewhere);
    go_to(kHere);
    EXPECT_EQ(code_at(kPage)->physical, kData);
    go_to(kElsewhere);
    invpcid(0, kHere, kPage);
    go_to(kHere);
    EXPECT_EQ(code_at(kPage)->physical, kData + kPageSize);
}

}  // namespace
}  // namespace dualvm::interp
