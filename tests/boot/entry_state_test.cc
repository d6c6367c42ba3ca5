// Entry states as every engine can enter them: what hardware checks on VM entry (SDM vol. 3C, 26.3.1) holds, and the
// guest's descriptor table says the same as the hidden parts of the segment registers.
#include <gtest/gtest.h>

#include "images.h"

namespace dualvm::boot {
namespace {

// The segment that loading `selector` from the guest's GDT would give (SDM vol. 3A, 3.4.5).
Segment loaded_from_gdt(Machine& machine, u16 selector) {
    const auto d = value_at<u64>(machine, machine.cpu().segments.gdtr.base + selector);
    Segment s;
    s.selector = selector;
    s.base = (d >> 16 & 0xffffff) | (d >> 56) << 24;
    s.access = static_cast<u32>(d >> 40) & 0xf0ff;
    s.limit = static_cast<u32>((d & 0xffff) | (d >> 32 & 0xf0000));
    if (s.has(Segment::G)) s.limit = s.limit << 12 | 0xfff;
    return s;
}

void expect_enterable(Machine& machine) {
    const CpuFile& cpu = machine.cpu();
    for (const Segment& s : cpu.segments.seg) {
        EXPECT_TRUE(s.has(Segment::P | Segment::S | 1)) << "present, code or data, accessed";
    }
    EXPECT_EQ(cpu.segments.tr.type(), 11u) << "busy TSS";
    EXPECT_TRUE(cpu.segments.tr.has(Segment::P));
    EXPECT_TRUE(cpu.segments.ldtr.has(Segment::Unusable) ||
                (cpu.segments.ldtr.type() == 2 && cpu.segments.ldtr.has(Segment::P)));
    EXPECT_EQ(cpu.general.rflags, rflags::Fixed1);
    if (cpu.control.cr0 & cr0::PE) {
        for (SegmentName name : {CS, SS, DS, ES}) {
            EXPECT_EQ(loaded_from_gdt(machine, cpu.segments.seg[name].selector), cpu.segments.seg[name]);
        }
    }
}

TEST(EntryState, MultibootCanBeEnteredAndItsSelectorsReloaded) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_multiboot_elf())));
    expect_enterable(*machine);
    EXPECT_EQ(machine->cpu().segments.seg[CS].selector, 0x08);
    EXPECT_EQ(machine->cpu().segments.seg[DS].selector, 0x10);
}

TEST(EntryState, PvhCanBeEnteredAndItsSelectorsReloaded) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_pvh_elf())));
    expect_enterable(*machine);
}

TEST(EntryState, LinuxHasItsSelectorsInBothModes) {
    for (Protocol protocol : {Protocol::Linux32, Protocol::Linux64}) {
        auto machine = make_machine();
        const Bytes kernel = make_bzimage();
        BootImage image = image_of(kernel);
        image.protocol = protocol;
        ASSERT_TRUE(boot_image(*machine, image));
        expect_enterable(*machine);
        EXPECT_EQ(machine->cpu().segments.seg[CS].selector, 0x10);
        EXPECT_EQ(machine->cpu().segments.seg[DS].selector, 0x18);
    }
}

TEST(EntryState, LongModeIsConsistent) {  // SDM vol. 3A, 10.8.5
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_bzimage())));
    const CpuFile& cpu = machine->cpu();
    EXPECT_EQ(cpu.mode(), CpuMode::Long64);
    EXPECT_EQ(cpu.control.efer, efer::LME | efer::LMA);
    EXPECT_EQ(cpu.control.cr0 & (cr0::PE | cr0::PG), cr0::PE | cr0::PG);
    EXPECT_EQ(cpu.control.cr4, cr4::PAE);
    EXPECT_FALSE(cpu.segments.seg[CS].has(Segment::DB)) << "L and D together are reserved";
}

TEST(EntryState, PageTablesMapFourGibibytesToThemselves) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_bzimage())));
    constexpr u64 kFrame = 0xffffffffff000;
    for (u64 address : {u64{0}, u64{0x100200}, u64{0x3fffffff}, u64{0x40000000}, u64{0xffffffff}}) {
        const auto pml4e = value_at<u64>(*machine, machine->cpu().control.cr3);
        ASSERT_EQ(pml4e & 1, 1u);
        const auto pdpte = value_at<u64>(*machine, (pml4e & kFrame) + (address >> 30) * 8);
        ASSERT_EQ(pdpte & 0x81, 1u);
        const auto pde = value_at<u64>(*machine, (pdpte & kFrame) + (address >> 21 & 511) * 8);
        EXPECT_EQ(pde, (address & ~u64{0x1fffff}) | 0x83) << std::hex << address;
    }
}

TEST(EntryState, ABootSectorCanBeEntered) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_boot_sector())));
    expect_enterable(*machine);
    EXPECT_EQ(machine->cpu().mode(), CpuMode::Real);
}

TEST(EntryState, NothingOfAnEarlierRunIsLeft) {
    auto fresh = make_machine(), used = make_machine();
    used->cpu().general.gpr[R15] = 1;
    used->cpu().control.cr3 = 0x1000;
    used->cpu().events.halted = true;
    used->vmem().set_a20(false);
    const Bytes kernel = make_multiboot_elf();
    ASSERT_TRUE(boot_image(*fresh, image_of(kernel)));
    ASSERT_TRUE(boot_image(*used, image_of(kernel)));
    EXPECT_EQ(differences(fresh->cpu(), used->cpu(), Groups::All), "");
    EXPECT_TRUE(used->vmem().a20_open());
}

}  // namespace
}  // namespace dualvm::boot
