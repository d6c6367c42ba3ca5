// Page tables that somebody else than the guest's code changes: where KVM shadows them, it does not hear of that.
#include "small_guest.h"

namespace dualvm {
namespace {

constexpr u64 kTable = 0x4000, kFrame = 0x300000, kOtherFrame = 0x301000, kForAll = 7;

// Maps another frame at 40000000h when it is written to, as a disk's DMA onto a page table would.
class TableWriter final : public Device {
public:
    explicit TableWriter(VMem& vmem) : vmem_(vmem) {}
    const char* name() const override { return "table writer"; }
    u64 read(u64, unsigned) override { return 0; }
    void write(u64, unsigned, u64) override { vmem_.write_value(kTable, kOtherFrame | kForAll); }
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}

private:
    VMem& vmem_;
};

class StaleTables : public SmallGuest {
protected:
    // A program, with a page of its own at 40000000h, which is kData in the comments.
    void program(const std::vector<u8>& code) {
        user_mode(code);
        machine->vmem().write_value(u64{0x2008}, 0x5000 | kForAll);
        machine->vmem().write_value(u64{0x5000}, kTable | kForAll);
        machine->vmem().write_value(kTable, kFrame | kForAll);
        machine->vmem().write_value(kFrame, u64{0x11});
        machine->vmem().write_value(kOtherFrame, u64{0x22});
        cpu().general.gpr[RDX] = kPort;
    }
    // Its kernel: on #UD it writes to the port, loads CR3, and goes on behind the UD2; on #GP it halts.
    void kernel() {
        constexpr u64 kIdt = 0x6000, kGdt = 0x7200, kTss = 0x7400, kReload = 0x9000, kHalt = 0x9800;
        const std::vector<u8> reload = {0xee, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8,  // out dx, al;  mov rax, cr3 and back
                                        0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xcf};  // add qword [rsp], 2;  iretq
        machine->vmem().write(kReload, reload.data(), reload.size());
        machine->vmem().write_value(kHalt, u8{0xf4});
        for (const auto& [vector, handler] : {std::pair{u64{6}, kReload}, std::pair{u64{13}, kHalt}}) {
            machine->vmem().write_value(kIdt + 16 * vector, handler | u64{0x08} << 16 | u64{0x8e} << 40);
        }
        machine->vmem().write_value(kGdt + 8, u64{0x00af9b000000ffff});     // 64-bit code of ring 0
        machine->vmem().write_value(kGdt + 0x28, u64{0x00cff3000000ffff});  // data of ring 3
        machine->vmem().write_value(kGdt + 0x30, u64{0x00affb000000ffff});  // 64-bit code of ring 3
        machine->vmem().write_value(kTss + 4, u64{0x7f00});
        cpu().segments.idtr = {.base = kIdt, .limit = 0xfff};
        cpu().segments.gdtr = {.base = kGdt, .limit = 0x3f};
        cpu().segments.tr = {.base = kTss, .limit = 0x67, .access = Segment::P | 11, .selector = 0x18};
    }
    void run_to_port_write() {
        Exit exit = engine->run({.host_time = 1'000'000'000});
        ASSERT_EQ(exit.kind, ExitKind::PortWrite) << exit.text;
        handle_exit(*machine, exit);
        engine->pull(Groups::All);
    }
};

TEST_F(StaleTables, AnEntryThatADeviceWritesIsSeenBehindALoadOfCr3) {
    program({0x48, 0x8b, 0x1c, 0x25, 0, 0, 0, 0x40,          // mov rbx, [kData]
             0x0f, 0x0b,                                     // ud2
             0x48, 0x8b, 0x2c, 0x25, 0, 0, 0, 0x40, 0xf4});  // mov rbp, [kData];  hlt
    kernel();
    TableWriter writer(machine->vmem());
    constexpr u16 kWriterPort = 0x600;
    ASSERT_TRUE(machine->vio().ports().add(kWriterPort, 1, writer));
    cpu().general.gpr[RDX] = kWriterPort;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.gpr[RBX], 0x11u);
    EXPECT_EQ(cpu().general.gpr[RBP], 0x22u);
}

// So it is when a guest is loaded anew for a reset, and when another engine has it meanwhile.
TEST_F(StaleTables, AnEntryThatIsChangedWhilePagingIsOffIsSeenOnceItIsOn) {
    program({0x48, 0x8b, 0x1c, 0x25, 0, 0, 0, 0x40, 0xee,    // mov rbx, [kData];  out dx, al
             0x48, 0x8b, 0x2c, 0x25, 0, 0, 0, 0x40, 0xee});  // mov rbp, [kData];  out dx, al
    START_ENGINE();
    run_to_port_write();
    ASSERT_EQ(cpu().general.gpr[RBX], 0x11u);
    const CpuFile interrupted = cpu();

    constexpr u64 kBoot = 0x9000;
    const std::vector<u8> boot = {0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80,  // mov eax, cr0;  or eax, 80000000h
                                  0x0f, 0x22, 0xc0, 0xee};                // mov cr0, eax;  out dx, al
    machine->vmem().write(kBoot, boot.data(), boot.size());
    machine->vmem().write_value(kTable, kOtherFrame | kForAll);
    constexpr u32 kFlat = Segment::P | Segment::S | Segment::G | Segment::DB;
    for (Segment& s : cpu().segments.seg) s = {0, 0xffffffff, kFlat | 3, 0x10};
    cpu().segments.seg[CS] = {0, 0xffffffff, kFlat | 11, 0x08};
    cpu().control.cr0 &= ~cr0::PG;
    cpu().control.efer = efer::LME;
    cpu().general.rip = kBoot;
    engine->push(Groups::All);
    run_to_port_write();
    ASSERT_NE(cpu().control.efer & efer::LMA, 0u);

    cpu().general = interrupted.general;
    cpu().segments = interrupted.segments;
    engine->push(Groups::General | Groups::Segments);
    run_to_port_write();
    EXPECT_EQ(cpu().general.gpr[RBP], 0x22u);
}

}  // namespace
}  // namespace dualvm
