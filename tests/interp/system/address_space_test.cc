// Translations of several PCIDs: what is kept, and what makes them go (SDM vol. 3A, 4.10.1, 4.10.4.1).
#include <Zydis/Zydis.h>

#include <random>

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

// Without CR4.PCIDE there is one PCID, 0, whatever CR3's low bits say (SDM vol. 3A, 4.10.1; 4.5, table 4-12).
TEST_F(AddressSpaces, InvpcidWithoutPcidsIsNotMisledByCr3sLowBits) {
    constexpr u64 kWriteThrough = 8;
    ASSERT_EQ(write_cr3(s(), kPageTables), Flow::Jump);
    ASSERT_EQ(write_cr4(s(), cr4::PAE), Flow::Jump);
    ASSERT_EQ(write_cr3(s(), kPageTables | kWriteThrough), Flow::Jump);
    for (u64 type = 0; type < 2; ++type) {
        map(kData);
        ASSERT_TRUE(reads()) << type;
        unmap();
        invpcid(type, 0, type == 0 ? kPage : 0);
        EXPECT_FALSE(reads()) << type;
    }
}

// A page fault drops what is known of its page (SDM vol. 3A, 4.10.4.1): the guest that gives a program its own copy of
// a page need not say more.
TEST_F(AddressSpaces, APageFaultForgetsItsPage) {
    cpu().control.cr0 |= cr0::WP;
    store<u8>(kData, 1);
    store<u8>(kData + kPageSize, 2);
    map(kData, kPresent | kUserPage);
    ASSERT_TRUE(reads());
    ASSERT_FALSE(writes(kPage + 1));
    map(kData + kPageSize);
    ASSERT_TRUE(writes(kPage + 1));
    u8 byte = 0;
    ASSERT_TRUE(read_linear(s(), kPage, &byte, 1));
    EXPECT_EQ(byte, 2);
}

TEST_F(AddressSpaces, APageFaultForgetsWhereItsCodeIs) {
    cpu().control.cr0 |= cr0::WP;
    store<u8>(kData, 0xc3);              // RET
    store<u8>(kData + kPageSize, 0xc3);  // RET
    map(kData, kPresent | kUserPage);
    ASSERT_EQ(code_at(kPage)->physical, kData);
    ASSERT_FALSE(writes(kPage + 1));
    map(kData + kPageSize);
    ASSERT_TRUE(writes(kPage + 1));
    EXPECT_EQ(code_at(kPage)->physical, kData + kPageSize);
}

// Recent blocks hold for one base of CS, too. An address space can be left with one base and come back with another.
TEST_F(AddressSpaces, BlocksOfAnotherCodeBaseAreNotFound) {
    const Segment code64 = seg(CS);
    auto compatible = [&](u64 base) {
        seg(CS) = {
            .base = base, .limit = 0xfffff, .access = Segment::P | Segment::S | Segment::DB | 11, .selector = kCode0};
        s().blocks->refresh_mode(s());
    };
    store<u8>(kCode, 0xc3);  // RET
    store<u8>(kCode + 0x100, 0xc3);
    compatible(0x100);
    ASSERT_EQ(code_at(kCode)->physical, kCode + 0x100);
    go_to(kElsewhere, 0);  // as 32-bit code does it
    seg(CS) = code64;
    s().blocks->refresh_mode(s());
    go_to(kHere);
    compatible(0);
    EXPECT_EQ(code_at(kCode)->physical, kCode);
}

// An instruction that runs over from a page into another one that is the same memory.
TEST_F(AddressSpaces, CodeThatCrossesIntoItsOwnPageIsForgotten) {
    store(kTable + 8, kData | kOpen);
    store<u8>(kData + 0xfff, 0xb8);  // MOV EAX, imm32
    Block* block = code_at(kPage + 0xfff);
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(writes(kPage + 40));  // none of it
    EXPECT_TRUE(block->valid);
    ASSERT_TRUE(writes(kPage + 1));
    EXPECT_FALSE(block->valid);
}

TEST_F(AddressSpaces, CodeThatCrossesIntoPageZeroIsForgotten) {
    store(kTable + 8, kOpen);
    store<u8>(kData + 0xfff, 0xb8);  // MOV EAX, imm32
    Block* block = code_at(kPage + 0xfff);
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(writes(kPage + kPageSize + 1));
    EXPECT_FALSE(block->valid);
}

// A kernel made of chance that tells the CPU of each change as the manual wants it, in one of the ways that do: then
// nothing may ever be seen of an older translation, nor of code that has been overwritten.
class RandomKernel : public AddressSpaces {
protected:
    static constexpr u64 kSpaces = kAddressSpaces + 3, kPages = 6, kFrames = 8;
    static constexpr u64 kFirstTable = 0x40000, kFirstFrame = 0x100000, kGlobalPage = 0;
    static constexpr std::array<u8, 3> kCodes = {0xc3, 0xf4, 0x90};
    static constexpr std::array<ZydisMnemonic, 3> kMnemonics = {ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_HLT,
                                                                ZYDIS_MNEMONIC_NOP};

    void SetUp() override {
        AddressSpaces::SetUp();
        ASSERT_EQ(write_cr0(s(), cpu().control.cr0 | cr0::WP), Flow::Jump);
        for (u64 space = 0; space < kSpaces; ++space) {
            const u64 top = tables(space);
            store(top, (top + 0x1000) | kOpen);
            store(top + 0x1000, (top + 0x2000) | kOpen);
            store(top + 0x2000, kOpen | 0x80);  // the first 2 MiB as everywhere
            store(top + 0x2000 + 8, (top + 0x3000) | kOpen);
        }
        for (u64 frame = 0; frame < kFrames; ++frame) store<u8>(kFirstFrame + frame * kPageSize, kCodes[0]);
        enter(0, false);
    }

    u64 below(u64 bound) { return random_() % bound; }
    static u64 tables(u64 space) { return kFirstTable + space * 0x4000; }
    static u64 region(u64 page) { return kRegion + page * kPageSize; }
    static u64 linear(u64 page) { return kPage + page * kPageSize; }

    void enter(u64 space, bool keep) {
        go_to(space, keep && !stale_[space] ? kKeep : 0, tables(space));
        stale_[space] = false;
        current_ = space;
    }

    void set_entry(u64 space, u64 page, int frame) {
        const bool read_only = page != kGlobalPage && below(3) == 0;
        read_only_[space][page] = read_only;
        const u64 flags = (page == kGlobalPage ? kOpen | kGlobal : kOpen) & ~(read_only ? kWritable : u64{0});
        store(tables(space) + 0x3000 + page * 8, frame < 0 ? 0 : (kFirstFrame + u64(frame) * kPageSize) | flags);
        map_[space][page] = frame;
    }

    void map_anew() {
        const u64 page = below(kPages), space = below(kSpaces);
        const int frame = static_cast<int>(below(kFrames + 2)) - 2;
        if (page == kGlobalPage) {
            for (u64 each = 0; each < kSpaces; ++each) set_entry(each, page, frame);
            invlpg(region(page));
            return invlpg(linear(page));
        }
        const bool was_absent = map_[space][page] < 0;
        set_entry(space, page, frame);
        if (was_absent) return;  // what is absent is not remembered
        switch (below(4)) {
            case 0: invpcid(0, space, region(page)); return invpcid(0, space, linear(page));
            case 1: return invpcid(1, space, 0);
            case 2: return invpcid(2, 0, 0);
            default: break;
        }
        if (space == current_) invlpg(region(page));
        if (space == current_) return invlpg(linear(page));
        stale_[space] = true;  // said when it is entered
    }

    void write_code() {
        const u64 page = below(kPages), code = below(kCodes.size());
        const int frame = map_[current_][page];
        const bool writable = frame >= 0 && !read_only_[current_][page];
        ASSERT_EQ(write_linear(s(), linear(page), &kCodes[code], 1), writable);
        if (writable) code_[static_cast<std::size_t>(frame)] = code;
        // After a fault the page may get another frame without more ado.
        if (frame >= 0 && !writable && below(2) != 0) {
            set_entry(current_, page, static_cast<int>(below(kFrames)));
            invlpg(region(page));
        }
    }

    // A region of 2 MiB behind: one large page, which any of its addresses names, or a table of its own.
    void map_region_anew() {
        const u64 space = below(kSpaces);
        const u64 entry = tables(space) + 0x2000 + 16;
        const bool was_large = region_[space] == 1;
        region_[space] = static_cast<int>(below(3));
        store(entry, region_[space] == 0   ? u64{0}
                     : region_[space] == 1 ? kOpen | 0x80
                                           : (tables(space) + 0x3000) | kOpen);
        if (was_large && below(2) != 0) {
            const u64 at = kRegion + below(512) * kPageSize;
            if (space == current_) return invlpg(at);
            return invpcid(0, space, at);
        }
        if (space == current_ && below(2) != 0) return enter(space, false);
        invpcid(1 + below(3), space, 0);
    }
    void try_region() {
        const u64 page = below(4) == 0 ? 0x100 + below(kFrames) : below(kPages);
        const u64 at = kRegion + page * kPageSize;
        int frame = -1;
        if (region_[current_] == 1) frame = page >= 0x100 ? static_cast<int>(page - 0x100) : 100;
        if (region_[current_] == 2) frame = page >= 0x100 ? -1 : map_[current_][page];
        if (frame == 100) {
            u8 byte = 0;
            ASSERT_TRUE(read_linear(s(), at + 0x700, &byte, 1));
            return;
        }
        if (below(2) != 0) {
            const Block* block = code_at(at);
            ASSERT_EQ(block != nullptr, frame >= 0);
            if (frame < 0) return;
            ASSERT_EQ(block->physical, kFirstFrame + static_cast<u64>(frame) * kPageSize);
            ASSERT_EQ(block->insns[0].mnemonic, kMnemonics[code_[static_cast<std::size_t>(frame)]]);
            return;
        }
        if (below(2) != 0) {
            u8 byte = 0;
            ASSERT_EQ(read_linear(s(), at, &byte, 1), frame >= 0);
            if (frame >= 0) {
                ASSERT_EQ(byte, kCodes[code_[static_cast<std::size_t>(frame)]]);
            }
            return;
        }
        const u64 code = below(kCodes.size());
        const bool writable = frame >= 0 && !(region_[current_] == 2 && read_only_[current_][page]);
        ASSERT_EQ(write_linear(s(), at, &kCodes[code], 1), writable);
        if (writable) code_[static_cast<std::size_t>(frame)] = code;
    }

    void read_code() {
        const u64 page = below(kPages);
        const int frame = map_[current_][page];
        u8 byte = 0;
        ASSERT_EQ(read_linear(s(), linear(page), &byte, 1), frame >= 0);
        if (frame >= 0) {
            ASSERT_EQ(byte, kCodes[code_[static_cast<std::size_t>(frame)]]);
        }
    }

    void fetch_code() {
        const u64 page = below(kPages);
        const int frame = map_[current_][page];
        const Block* block = code_at(linear(page));
        ASSERT_EQ(block != nullptr, frame >= 0);
        if (frame < 0) return;
        ASSERT_EQ(block->physical, kFirstFrame + static_cast<u64>(frame) * kPageSize);
        ASSERT_EQ(block->insns[0].mnemonic, kMnemonics[code_[static_cast<std::size_t>(frame)]]);
    }

    void step() {
        switch (below(10)) {
            case 0: return map_anew();
            case 1:
            case 2: return enter(below(2) != 0 ? below(3) : below(kSpaces), below(8) != 0);
            case 3:
            case 4: return write_code();
            case 5:
            case 6: return read_code();
            default: break;
        }
        if (below(3) == 0) return try_region();
        if (below(20) == 0) return map_region_anew();
        if (below(500) == 0) {
            ASSERT_EQ(write_cr4(s(), cpu().control.cr4 ^ cr4::PGE), Flow::Jump);
        }
        fetch_code();
    }

    static constexpr u64 kRegion = u64{4} << 20;
    std::mt19937_64 random_{1};
    std::array<std::array<bool, kPages>, kSpaces> read_only_{};
    std::array<int, kSpaces> region_{};
    u64 current_ = 0;
    std::array<bool, kSpaces> stale_{};
    std::array<std::array<int, kPages>, kSpaces> map_ = [] {
        std::array<std::array<int, kPages>, kSpaces> none;
        for (auto& pages : none) pages.fill(-1);
        return none;
    }();
    std::array<u64, kFrames> code_{};  // index of what each frame holds
};

TEST_F(RandomKernel, NeverSeesWhatItHasHadForgotten) {
    for (unsigned i = 0; i < 200'000 && !HasFatalFailure(); ++i) {
        SCOPED_TRACE(i);
        step();
    }
}

}  // namespace
}  // namespace dualvm::interp
