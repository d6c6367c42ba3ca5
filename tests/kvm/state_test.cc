// What is pushed is what is pulled, group by group.
#include <random>

#include "small_guest.h"

namespace dualvm {
namespace {

class State : public SmallGuest {
protected:
    u64 any() { return random_(); }
    bool any_bool() { return (any() & 1) != 0; }

    // Pushes the CpuFile, spoils it, pulls it and says what is different.
    std::string round_trip(Groups groups) {
        const CpuFile pushed = cpu();
        engine->push(groups);
        cpu() = CpuFile{};
        engine->pull(groups);
        return differences(pushed, cpu(), groups);
    }
    // 64-bit mode at ring 0, where every register can have any value.
    void long_mode() {
        user_mode({0xf4});
        for (Segment& s : cpu().segments.seg) {
            s.access &= ~u32{Segment::DplMask};
            s.selector = static_cast<u16>(s.selector & ~3u);
        }
    }

private:
    std::mt19937_64 random_{2006};
};

TEST_F(State, GeneralRegistersRipAndFlags) {
    long_mode();
    START_ENGINE();
    for (unsigned i = 0; i < 20; ++i) {
        for (u64& r : cpu().general.gpr) r = any();
        cpu().general.rip = any() >> 17;
        cpu().general.rflags = rflags::Fixed1 | (any() & (rflags::Arithmetic | rflags::IF | rflags::DF | rflags::IOPL |
                                                          rflags::NT | rflags::RF | rflags::AC | rflags::ID));
        EXPECT_EQ(round_trip(Groups::General), "");
    }
}

TEST_F(State, SegmentsWithTheirHiddenParts) {
    long_mode();
    START_ENGINE();
    for (unsigned i = 0; i < 20; ++i) {
        for (SegmentName name : {ES, DS, FS, GS}) {
            Segment& s = cpu().segments.seg[name];
            s.base = name == FS || name == GS ? any() >> 17 : any() & 0xffffffff;
            s.limit = static_cast<u32>(any()) | 0xfff;
            s.selector = static_cast<u16>(any() & 0xfffc);
            s.access = Segment::P | Segment::S | Segment::G | (any_bool() ? Segment::DB : 0) |
                       (any_bool() ? Segment::AVL : 0) | (any_bool() ? 3 : 1);
        }
        cpu().segments.ldtr = {any() >> 17, 0xffff, Segment::P | 2, static_cast<u16>(any() & 0xfff8)};
        cpu().segments.tr = {any() >> 17, 0x67, Segment::P | 11, static_cast<u16>((any() & 0xfff8) | 8)};
        cpu().segments.gdtr = {any() >> 17, static_cast<u16>(any())};
        cpu().segments.idtr = {any() >> 17, static_cast<u16>(any())};
        EXPECT_EQ(round_trip(Groups::Segments), "");
    }
}

TEST_F(State, UnusableSegmentsStayUnusable) {
    long_mode();
    START_ENGINE();
    for (SegmentName name : {ES, DS, FS, GS}) cpu().segments.seg[name] = {.access = Segment::Unusable};
    cpu().segments.ldtr = {.access = Segment::Unusable};
    engine->push(Groups::Segments);
    engine->pull(Groups::Segments);
    for (SegmentName name : {ES, DS, FS, GS}) EXPECT_TRUE(cpu().segments.seg[name].has(Segment::Unusable));
    EXPECT_TRUE(cpu().segments.ldtr.has(Segment::Unusable));
}

TEST_F(State, ControlRegisters) {
    long_mode();
    START_ENGINE();
    for (unsigned i = 0; i < 20; ++i) {
        ControlGroup& c = cpu().control;
        c.cr0 = cr0::PE | cr0::PG | cr0::ET | (any() & (cr0::MP | cr0::EM | cr0::TS | cr0::NE | cr0::WP | cr0::AM));
        if (any_bool()) c.cr0 |= cr0::CD;
        c.cr2 = any();
        c.cr3 = any() & 0x3f'f000;
        c.cr4 = cr4::PAE | (any() & (cr4::TSD | cr4::DE | cr4::PSE | cr4::PGE));
        c.cr8 = any() & 15;
        c.efer = efer::LME | efer::LMA | (any() & (efer::SCE | efer::NXE));
        EXPECT_EQ(round_trip(Groups::Control), "");
    }
}

TEST_F(State, AModelWithoutWhatKvmRefusesCanHaveAllItsBitsOfCr4) {
    long_mode();
    const CpuModel& standard = machine->cpu_model();
    machine->set_cpu_model(standard.without_cr4_bits(cr4_bits_refused_by_kvm(standard, "/dev/kvm")));
    START_ENGINE();
    cpu().control.cr4 = machine->cpu_model().cr4_valid_bits();
    EXPECT_NE(cpu().control.cr4 & cr4::OSFXSR, 0u);
    EXPECT_EQ(round_trip(Groups::Control), "");
}

TEST_F(State, Cr8SurvivesARun) {
    long_mode();
    cpu().control.cr8 = 5;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::Control);
    EXPECT_EQ(cpu().control.cr8, 5u);
}

TEST_F(State, ResetIsAccepted) {
    START_ENGINE();
    cpu().reset();
    EXPECT_EQ(round_trip(Groups::General | Groups::Segments | Groups::Control | Groups::Debug | Groups::Events), "");
}

TEST_F(State, DebugRegisters) {
    long_mode();
    START_ENGINE();
    for (unsigned i = 0; i < 20; ++i) {
        for (u64& d : cpu().debug.dr) d = any() >> 17;
        cpu().debug.dr6 = 0xffff0ff0 | (any() & 0xe00f);
        cpu().debug.dr7 = 0x400 | (any() & 0xff);
        EXPECT_EQ(round_trip(Groups::Debug), "");
    }
}

// What the interpreter lets a guest have and CPUs ignore KVM would refuse.
TEST_F(State, ALongCodeSegmentOutsideOfLongModeIsTaken) {
    real_mode({0xf4});
    cpu().segments.seg[CS].access |= Segment::L;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
}

TEST_F(State, AnyMachineCheckControlIsTaken) {
    real_mode({0xf4});
    START_ENGINE();
    cpu().msrs.machine_check[0] = 5;
    engine->push(Groups::Msrs);
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
}

// No CPU has all bits of CR4.
TEST_F(State, WhatKvmRefusesEndsAsAnEngineThatIsNotAvailableAndStaysInCpuFile) {
    real_mode({0xf4});
    START_ENGINE();
    cpu().control.cr4 = ~u64{0};
    cpu().general.gpr[RBX] = 0x1234;
    engine->push(Groups::All);
    const Exit exit = run_on();
    ASSERT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_EQ(exit.status, ExitStatus::EngineUnavailable);
    engine->pull(Groups::All);
    EXPECT_EQ(cpu().general.gpr[RBX], 0x1234u);
    EXPECT_EQ(cpu().control.cr4, ~u64{0});
}

TEST_F(State, ModelSpecificRegisters) {
    long_mode();
    START_ENGINE();
    engine->pull(Groups::Msrs);
    for (unsigned i = 0; i < 20; ++i) {
        MsrGroup& m = cpu().msrs;
        m.star = any();
        for (u64* canonical : {&m.lstar, &m.cstar, &m.kernel_gs_base, &m.sysenter_esp, &m.sysenter_eip}) {
            *canonical = any() >> 17;
        }
        m.sfmask = any() & 0xffffffff;
        m.sysenter_cs = any() & 0xffff;
        m.tsc_aux = any() & 0xffffffff;
        m.apic_base = 0xfee00000 | (any_bool() ? 0x100 : 0);
        m.mtrr_def_type = 0xc00 | (any_bool() ? 6 : 0);
        for (u64& fixed : m.mtrr_fixed) fixed = any_bool() ? 0x0606060606060606 : 0;
        EXPECT_EQ(round_trip(Groups::Msrs), "");
    }
}

TEST_F(State, MachineCheckControlsThatAKernelHasTurnedOn) {
    long_mode();
    START_ENGINE();
    engine->pull(Groups::Msrs);
    cpu().msrs.mcg_ctl = ~u64{0};
    for (std::size_t bank = 0; bank < 4; ++bank) cpu().msrs.machine_check[4 * bank] = ~u64{0};
    EXPECT_EQ(round_trip(Groups::Msrs), "");
}

TEST_F(State, TheTimeStampCounterGoesOnFromWhereItIsPut) {
    long_mode();
    START_ENGINE();
    engine->pull(Groups::Msrs);
    constexpr u64 kFarAhead = u64{1} << 50;
    cpu().msrs.tsc = kFarAhead;
    engine->push(Groups::Msrs);
    engine->pull(Groups::Msrs);
    if (cpu().msrs.tsc < kFarAhead) GTEST_SKIP() << "this host's KVM keeps a time stamp counter of its own";
    EXPECT_LT(cpu().msrs.tsc, kFarAhead + (u64{1} << 40));
}

TEST_F(State, X87AndXmmRegisters) {
    long_mode();
    START_ENGINE();
    for (unsigned i = 0; i < 20; ++i) {
        FpuGroup& f = cpu().fpu;
        f = {};
        for (X87Register& r : f.st) r = {any(), static_cast<u16>(any())};
        f.fcw = static_cast<u16>(0x40 | (any() & 0xf3f));
        f.fsw = static_cast<u16>(any() & 0x7f00);  // no exception pending
        f.ftw = static_cast<u8>(any());
        f.fop = static_cast<u16>(any() & 0x7ff);
        f.fip = any() >> 17;
        f.fdp = any() >> 17;
        f.mxcsr = 0x1f80 | static_cast<u32>(any() & 0xe03f);
        for (VectorRegister& v : f.vector) {
            for (unsigned byte = 0; byte < 16; ++byte) v.bytes[byte] = static_cast<u8>(any());
        }
        EXPECT_EQ(round_trip(Groups::Fpu), "");
    }
}

TEST_F(State, YmmRegistersWhereTheGuestMayHaveThem) {
    long_mode();
    START_ENGINE();
    for (VectorRegister& v : cpu().fpu.vector) {
        for (u8& byte : v.bytes) byte = static_cast<u8>(any());
    }
    const CpuFile pushed = cpu();
    engine->push(Groups::Fpu);
    const Exit refused = engine->run({.host_time = 1'000'000});
    if (refused.kind == ExitKind::Failure) {
        // A host that keeps to the CPU model, which has no AVX, says so instead of losing the upper halves.
        EXPECT_NE(refused.text.find("KVM_SET_XSAVE"), std::string::npos) << refused.text;
        GTEST_SKIP() << "this host's KVM gives a guest of this CPU model no YMM registers: " << refused.text;
    }
    engine->pull(Groups::Fpu);
    EXPECT_EQ(differences(pushed, cpu(), Groups::Fpu), "");
}

TEST_F(State, EventsInFlight) {
    long_mode();
    START_ENGINE();
    EventGroup& e = cpu().events;
    e = {};
    e.exception_pending = true;
    e.exception_vector = 14;
    e.exception_has_error_code = true;
    e.exception_error_code = 7;
    e.nmi_masked = true;
    EXPECT_EQ(round_trip(Groups::Events), "");
    e = {};
    e.interrupt_accepted = true;
    e.interrupt_vector = 0x55;
    EXPECT_EQ(round_trip(Groups::Events), "");
    e = {};
    e.nmi_pending = true;
    e.halted = true;
    EXPECT_EQ(round_trip(Groups::Events), "");
}

TEST_F(State, InterruptShadows) {
    long_mode();
    START_ENGINE();
    for (bool sti : {false, true}) {
        cpu().events = {};
        (sti ? cpu().events.interrupt_shadow_sti : cpu().events.interrupt_shadow_mov_ss) = true;
        engine->push(Groups::Events);
        engine->pull(Groups::Events);
        // AMD-V has one bit for both.
        EXPECT_TRUE(cpu().events.interrupt_shadow_sti || cpu().events.interrupt_shadow_mov_ss);
    }
}

TEST_F(State, AStateThatKvmRefusesIsReportedByTheNextRun) {
    long_mode();
    START_ENGINE();
    cpu().control.efer = efer::LMA;  // LMA without LME
    cpu().control.cr4 = ~u64{0};
    engine->push(Groups::Control);
    const Exit exit = engine->run({.host_time = 1'000'000});
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_NE(exit.text.find("KVM_SET_SREGS"), std::string::npos) << exit.text;
}

TEST_F(State, ACr4BitThatThisKvmLacksIsNamed) {
    long_mode();
    START_ENGINE();
    constexpr u64 kVmxe = 1u << 13;  // a feature that the CPU model has not, and so no KVM gives
    cpu().control.cr4 |= kVmxe | cr4::PGE;
    engine->push(Groups::Control);
    const Exit exit = engine->run({.host_time = 1'000'000});
    EXPECT_EQ(exit.kind, ExitKind::Failure);
    EXPECT_NE(exit.text.find("for its bits 0x2000,"), std::string::npos) << exit.text;
}

TEST_F(State, TransfersAreCounted) {
    long_mode();
    START_ENGINE();
    const EngineStatistics before = engine->statistics();
    engine->pull(Groups::All);
    engine->push(Groups::General);
    EXPECT_EQ(engine->statistics().pulls, before.pulls + 1);
    EXPECT_EQ(engine->statistics().pushes, before.pushes + 1);
}

}  // namespace
}  // namespace dualvm
