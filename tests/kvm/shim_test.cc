// The VMM's own supervisor under a program: tables, stubs, frames.
#include "assist/shim.h"

#include <gtest/gtest.h>

namespace dualvm::kvm {
namespace {

class ShimTest : public testing::Test {
protected:
    static constexpr u64 kBase = 0x7000000000, kAccessed = 0x20;
    void SetUp() override { shim_ = std::move(*Shim::create(kBase)); }
    const u64* copy_of(const Shim::Root& root) const {
        return reinterpret_cast<const u64*>(shim_->host() + (root.address - kBase));
    }
    std::unique_ptr<Shim> shim_;
    std::array<u64, 512> table_{};
};

TEST_F(ShimTest, TheCopyIsTheGuestsTableWithOneEntryMore) {
    table_[0] = 0x5007;
    table_[511] = 0x6003;
    const auto root = shim_->root(0x1000, table_.data());
    ASSERT_TRUE(root);
    EXPECT_TRUE(root->moved);
    const u64* copy = copy_of(*root);
    unsigned more = 0;
    for (unsigned i = 0; i < 512; ++i) more += copy[i] != table_[i];
    EXPECT_EQ(more, 1u);
    EXPECT_EQ(copy[shim_->linear() >> 39 & 511] & 7, 3u);  // of the supervisor alone
}
TEST_F(ShimTest, ItMovesOutOfTheWayOfAGuestThatUsesItsEntry) {
    ASSERT_TRUE(shim_->root(0x1000, table_.data()));
    const u64 first = shim_->linear();
    table_[first >> 39 & 511] = 0x5007;
    const auto root = shim_->root(0x1000, table_.data());
    ASSERT_TRUE(root);
    EXPECT_TRUE(root->moved);
    EXPECT_NE(shim_->linear(), first);
}
TEST_F(ShimTest, ATableWithoutAFreeEntryIsRefused) {
    table_.fill(0x5007);
    EXPECT_FALSE(shim_->root(0x1000, table_.data()));
}
TEST_F(ShimTest, EachOfTheGuestsTablesHasItsOwnCopyUntilThereAreTooMany) {
    const auto first = shim_->root(0x1000, table_.data());
    const auto second = shim_->root(0x2000, table_.data());
    EXPECT_NE(first->address, second->address);
    EXPECT_EQ(shim_->root(0x1000, table_.data())->address, first->address);
    for (u64 i = 3; i <= Shim::kRoots; ++i) EXPECT_FALSE(shim_->root(i << 12, table_.data())->fresh);
    const auto again = shim_->root(0x1000000, table_.data());
    EXPECT_TRUE(again->fresh);
    EXPECT_EQ(again->address, first->address);
    EXPECT_TRUE(shim_->root(0x1000, table_.data())->fresh);  // it lost its copy
}
TEST_F(ShimTest, AccessedBitsGoBackAndNothingElse) {
    table_[3] = 0x5007;
    table_[4] = 0x6007;
    const auto root = shim_->root(0x1000, table_.data());
    auto* copy = const_cast<u64*>(copy_of(*root));
    copy[3] |= kAccessed;
    copy[4] = 0x9007;
    shim_->give_back_accessed(0x1000, table_.data());
    EXPECT_EQ(table_[3], 0x5007 | kAccessed);
    EXPECT_EQ(table_[4], 0x6007u);
    EXPECT_EQ(table_[shim_->linear() >> 39 & 511], 0u);
}
TEST_F(ShimTest, AStubIsKnownAtAndBehindItsOut) {
    ASSERT_TRUE(shim_->root(0x1000, table_.data()));
    const u64 stub = shim_->syscall_stub();
    EXPECT_EQ(shim_->stub_at(stub), Shim::kSyscallStub);
    EXPECT_EQ(shim_->stub_at(stub + 2), Shim::kSyscallStub);
    EXPECT_EQ(shim_->stub_at(stub - 8), 255u);
    EXPECT_FALSE(shim_->stub_at(stub + 1));
    EXPECT_FALSE(shim_->stub_at(stub + 8));
    EXPECT_FALSE(shim_->stub_at(0x400000));
}
TEST_F(ShimTest, AFrameIsWhereTheCpuPushesIt) {
    ASSERT_TRUE(shim_->root(0x1000, table_.data()));
    const u64 top = shim_->linear() + 5 * kPageSize;
    u64* words = reinterpret_cast<u64*>(shim_->host() + 5 * kPageSize);
    words[-6] = 0x15;  // error code
    words[-5] = 0x401000;
    words[-4] = 0x33;
    words[-3] = 0x202;
    words[-2] = 0x7fff0000;
    words[-1] = 0x2b;
    const auto frame = shim_->frame(14, top - 48);
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->rip, 0x401000u);
    EXPECT_EQ(frame->cs, 0x33u);
    EXPECT_EQ(frame->rflags, 0x202u);
    EXPECT_EQ(frame->rsp, 0x7fff0000u);
    EXPECT_FALSE(shim_->frame(14, top - 40));  // a page fault has an error code
    EXPECT_TRUE(shim_->frame(6, top - 40));
    EXPECT_FALSE(shim_->frame(6, top - 32));
}

}  // namespace
}  // namespace dualvm::kvm
