// The CPU model against what a host can give.
#include "cpuid.h"

#include <gtest/gtest.h>

namespace dualvm::kvm {
namespace {

// A host that has everything, with `ecx` in leaf 1.
CpuidList host_with(u32 ecx) {
    CpuidList host(8);
    for (u32 leaf : {1u, 7u, 0x80000001u, 0x80000008u}) {
        kvm_cpuid_entry2 e{};
        e.function = leaf;
        e.eax = leaf == 0x80000008 ? 46 : 0;
        e.ebx = e.edx = ~0u;
        e.ecx = leaf == 1 ? ecx : ~0u;
        host.add(e);
    }
    return host;
}

const kvm_cpuid_entry2& leaf(CpuidList& list, u32 number) {
    for (u32 i = 0; i < list.size(); ++i) {
        if (list.entries()[i].function == number) return list.entries()[i];
    }
    static const kvm_cpuid_entry2 none{};
    return none;
}

TEST(Cpuid, IsTheModelsWhereTheHostHasAll) {
    CpuidList host = host_with(~0u);
    std::vector<std::string> differences;
    CpuidList wanted = intersect(CpuModel::standard(), host, &differences);
    EXPECT_TRUE(differences.empty());
    EXPECT_EQ(wanted.size(), CpuModel::standard().leaves().size());
    for (const CpuidLeaf& l : CpuModel::standard().leaves()) {
        if (l.leaf == 1) {
            EXPECT_EQ(leaf(wanted, 1).ecx, l.result.ecx);
        }
    }
}

TEST(Cpuid, AFeatureThatTheHostLacksIsTakenAwayAndNamed) {
    CpuidList full = host_with(~0u);
    const u32 offered = leaf(full, 1).ecx;
    ASSERT_EQ(offered, ~0u);
    constexpr u32 kPopcnt = 1u << 23;
    CpuidList host = host_with(~kPopcnt);
    std::vector<std::string> differences;
    CpuidList wanted = intersect(CpuModel::standard(), host, &differences);
    EXPECT_EQ(leaf(wanted, 1).ecx & kPopcnt, 0u);
    ASSERT_EQ(differences.size(), 1u);
    EXPECT_NE(differences[0].find("00800000"), std::string::npos) << differences[0];
}

TEST(Cpuid, NothingIsAddedThatTheModelDoesNotHave) {
    CpuidList host = host_with(~0u);
    CpuidList wanted = intersect(CpuModel::standard(), host, nullptr);
    constexpr u32 kAvx = 1u << 28;
    EXPECT_EQ(leaf(wanted, 1).ecx & kAvx, 0u);
}

TEST(Cpuid, AddressesAreNoWiderThanTheHosts) {
    CpuidList host = host_with(~0u);
    for (u32 i = 0; i < host.size(); ++i) {
        if (host.entries()[i].function == 0x80000008) host.entries()[i].eax = 36;
    }
    std::vector<std::string> differences;
    CpuidList wanted = intersect(CpuModel::standard(), host, &differences);
    EXPECT_EQ(leaf(wanted, 0x80000008).eax & 0xff, 36u);
    EXPECT_EQ(differences.size(), 1u);
}

}  // namespace
}  // namespace dualvm::kvm
