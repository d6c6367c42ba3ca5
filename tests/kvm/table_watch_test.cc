// What KVM may know of the guest's page tables, and when that has become false.
#include "assist/table_watch.h"

#include <gtest/gtest.h>

namespace dualvm::kvm {
namespace {

constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40, kLarge = 0x80,
              kNoExecute = u64{1} << 63, kAll = kPresent | kWritable | kUser;

TEST(StillHolds, WhatWasNotPresentWasNotKnown) { EXPECT_TRUE(still_holds(0x5000, 0x7007, true)); }
TEST(StillHolds, AnEntryThatIsGoneIsStale) { EXPECT_FALSE(still_holds(0x5007, 0, true)); }
TEST(StillHolds, AnotherFrameIsStale) { EXPECT_FALSE(still_holds(0x5007, 0x6007, true)); }
TEST(StillHolds, MoreRightsAreFoundOutByAFault) {
    EXPECT_TRUE(still_holds(0x5000 | kPresent | kUser, 0x5000 | kAll, true));
    EXPECT_TRUE(still_holds(0x5000 | kAll | kNoExecute, 0x5000 | kAll, true));
}
TEST(StillHolds, FewerRightsAreStale) {
    EXPECT_FALSE(still_holds(0x5000 | kAll, 0x5000 | kPresent | kUser, true));
    EXPECT_FALSE(still_holds(0x5000 | kAll, 0x5000 | kPresent | kWritable, true));
    EXPECT_FALSE(still_holds(0x5000 | kAll, 0x5000 | kAll | kNoExecute, true));
}
TEST(StillHolds, AccessedAndDirtyMayComeAndNotGo) {
    EXPECT_TRUE(still_holds(0x5000 | kAll, 0x5000 | kAll | kAccessed | kDirty, true));
    EXPECT_FALSE(still_holds(0x5000 | kAll | kAccessed, 0x5000 | kAll, true));
    EXPECT_FALSE(still_holds(0x5000 | kAll | kAccessed | kDirty, 0x5000 | kAll | kAccessed, true));
}
TEST(StillHolds, BitsOfTheSoftwareDoNotCount) { EXPECT_TRUE(still_holds(0x5007, 0x5e07, true)); }
TEST(StillHolds, ATableThatBecomesAPageIsStale) { EXPECT_FALSE(still_holds(0x5007, 0x5087, false)); }

class Watch : public testing::Test {
protected:
    static constexpr u64 kRoot = 0x1000, kPointers = 0x2000, kDirectory = 0x3000, kTable = 0x4000, kPage = 0x10000;
    void SetUp() override {
        vmem_ = std::move(*VMem::create(2));
        watch_ = std::make_unique<TableWatch>(*vmem_);
        entry(kRoot, 0, kPointers | kAll);
        entry(kPointers, 0, kDirectory | kAll);
        entry(kDirectory, 0, kTable | kAll);
        entry(kTable, 0, kPage | kAll);
    }
    void entry(u64 table, u64 index, u64 value) { ASSERT_TRUE(vmem_->write_value(table + 8 * index, value)); }
    TableWatch::Verdict before() { return watch_->before(kRoot); }
    void ran() { watch_->after(kRoot); }

    std::unique_ptr<VMem> vmem_;
    std::unique_ptr<TableWatch> watch_;
};

using Verdict = TableWatch::Verdict;

TEST_F(Watch, TablesThatStayAreKnown) {
    EXPECT_EQ(before(), Verdict::Known);
    ran();
    EXPECT_EQ(before(), Verdict::Known);
}
TEST_F(Watch, ANewPageNeedsNothing) {
    before();
    ran();
    entry(kTable, 5, 0x11000 | kAll);
    EXPECT_EQ(before(), Verdict::Known);
}
TEST_F(Watch, AChangeAtEveryLevelIsSeenOnce) {
    for (const u64 table : {kTable, kDirectory, kPointers, kRoot}) {
        SetUp();
        before();
        ran();
        entry(table, 0, 0);
        EXPECT_EQ(before(), Verdict::Stale);
        EXPECT_EQ(before(), Verdict::Known);
    }
}
TEST_F(Watch, WhatTheProgramItselfChangesLeavesNothingKnown) {
    for (const u64 value : {u64{0x11000} | kAll, u64{0}, u64{0x40000000} | kAll}) {
        for (const u64 table : {kTable, kDirectory}) {
            SetUp();
            before();
            entry(table, 0, value);
            EXPECT_FALSE(watch_->after(kRoot));
            ASSERT_EQ(watch_->writable_dirty().size(), 1u);
            EXPECT_GT(watch_->writable_dirty()[0].size, vmem_->ram_size());
            entry(table, 0, (table == kTable ? kPage : kTable) | kAll);  // as it was
            EXPECT_EQ(before(), Verdict::Stale);
            EXPECT_EQ(before(), Verdict::Known);
        }
    }
}
TEST_F(Watch, AnAccessedBitThatKvmSetAndTheKernelClearedIsStale) {
    before();
    entry(kTable, 0, kPage | kAll | kAccessed);
    ran();
    entry(kTable, 0, kPage | kAll);
    EXPECT_EQ(before(), Verdict::Stale);
}
TEST_F(Watch, ATableThatComesBackAtAnotherLevelIsStale) {
    before();
    ran();
    entry(kRoot, 0, 0);
    EXPECT_EQ(before(), Verdict::Stale);  // and with that, forgotten
    entry(kRoot, 0, kPointers | kAll);
    EXPECT_EQ(before(), Verdict::Known);
    ran();
    entry(kPointers, 0, kTable | kAll);  // the page table in the place of the directory
    EXPECT_EQ(before(), Verdict::Stale);
}
TEST_F(Watch, SupervisorsEntriesAreOfNoInterest) {
    entry(kRoot, 300, 0x1234567000 | kPresent | kWritable);  // leads nowhere
    EXPECT_EQ(before(), Verdict::Known);
}
TEST_F(Watch, ATableOutsideMemoryIsImpossible) {
    entry(kRoot, 1, 0x80000000 | kAll);
    EXPECT_EQ(before(), Verdict::Impossible);
}
TEST_F(Watch, TablesInACircleAreImpossible) {
    entry(kRoot, 1, kRoot | kAll);
    EXPECT_EQ(before(), Verdict::Impossible);
}
TEST_F(Watch, APageThatIsKeptOutIsImpossible) {
    watch_->keep_out(0x7000000, 0x10000);
    entry(kTable, 9, 0x7008000 | kAll);
    EXPECT_EQ(before(), Verdict::Impossible);
    entry(kTable, 9, 0);
    entry(kDirectory, 9, 0x7000000 | kAll | kLarge);  // 2 MiB that it lies in
    EXPECT_EQ(before(), Verdict::Impossible);
}
TEST_F(Watch, OnlyPagesThatRingThreeMayWriteAndAreDirtyWereWritten) {
    entry(kTable, 0, kPage | kAll | kDirty);
    entry(kTable, 1, 0x11000 | kAll);
    entry(kTable, 2, 0x12000 | kPresent | kUser | kDirty);
    before();
    ran();
    EXPECT_EQ(watch_->writable_dirty(), (std::vector<TableWatch::Range>{{kPage, kPageSize}}));
    entry(kPointers, 0, kDirectory | kPresent | kUser);  // a level above forbids it
    before();
    ran();
    EXPECT_TRUE(watch_->writable_dirty().empty());
}

}  // namespace
}  // namespace dualvm::kvm
