// CPUFile: every architectural register of one x86 CPU, as plain data.
//
// It is what a snapshot stores, what two engines are compared by, and what the book prints. Registers are grouped so
// that a transfer between an engine and this file can say which groups are wanted (Engine::pull / Engine::push).
// Source of every field: Intel SDM vol. 1 ch. 3 and 8, vol. 3A ch. 2-7, 17; AMD APM vol. 2 ch. 3-4.
#pragma once

#include <array>

#include "dualvm/types.h"

namespace dualvm {

// General-purpose registers, in encoding order.
enum Gpr : u8 { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

// Segment registers, in encoding order.
enum SegmentName : u8 { ES, CS, SS, DS, FS, GS, kSegmentCount };

namespace rflags {  // SDM vol. 1, 3.4.3
inline constexpr u64 CF = 1u << 0, Fixed1 = 1u << 1, PF = 1u << 2, AF = 1u << 4, ZF = 1u << 6, SF = 1u << 7,
                     TF = 1u << 8, IF = 1u << 9, DF = 1u << 10, OF = 1u << 11, IOPL = 3u << 12, NT = 1u << 14,
                     RF = 1u << 16, VM = 1u << 17, AC = 1u << 18, VIF = 1u << 19, VIP = 1u << 20, ID = 1u << 21;
inline constexpr u64 Arithmetic = CF | PF | AF | ZF | SF | OF;
}  // namespace rflags

namespace cr0 {  // SDM vol. 3A, 2.5
inline constexpr u64 PE = 1u << 0, MP = 1u << 1, EM = 1u << 2, TS = 1u << 3, ET = 1u << 4, NE = 1u << 5, WP = 1u << 16,
                     AM = 1u << 18, NW = 1u << 29, CD = 1u << 30, PG = 1u << 31;
}
namespace cr4 {
inline constexpr u64 VME = 1u << 0, PVI = 1u << 1, TSD = 1u << 2, DE = 1u << 3, PSE = 1u << 4, PAE = 1u << 5,
                     MCE = 1u << 6, PGE = 1u << 7, PCE = 1u << 8, OSFXSR = 1u << 9, OSXMMEXCPT = 1u << 10,
                     UMIP = 1u << 11, FSGSBASE = 1u << 16, PCIDE = 1u << 17, OSXSAVE = 1u << 18, SMEP = 1u << 20,
                     SMAP = 1u << 21;
}
namespace efer {  // SDM vol. 3A, 2.2.1
inline constexpr u64 SCE = 1u << 0, LME = 1u << 8, LMA = 1u << 10, NXE = 1u << 11;
}

// A segment register: the visible selector and the hidden descriptor cache (SDM vol. 3A, 3.4.3).
struct Segment {
    // Access rights as in bits 40-47 and 52-55 of a descriptor (SDM vol. 3A, 3.4.5), the layout of VMX's
    // "access rights" field: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
    static constexpr u32 kTypeMask = 0xf, S = 1u << 4, DplShift = 5, DplMask = 3u << 5, P = 1u << 7, AVL = 1u << 12,
                         L = 1u << 13, DB = 1u << 14, G = 1u << 15, Unusable = 1u << 16;
    u64 base = 0;
    u32 limit = 0;   // in bytes, granularity already applied
    u32 access = 0;  // the bits above
    u16 selector = 0;

    u32 type() const { return access & kTypeMask; }
    u32 dpl() const { return (access & DplMask) >> DplShift; }
    bool has(u32 bits) const { return (access & bits) == bits; }
    bool operator==(const Segment&) const = default;
};

struct DescriptorTable {  // GDTR, IDTR
    u64 base = 0;
    u16 limit = 0;
    bool operator==(const DescriptorTable&) const = default;
};

struct GeneralGroup {
    std::array<u64, 16> gpr{};  // indexed by Gpr
    u64 rip = 0;
    u64 rflags = rflags::Fixed1;
    bool operator==(const GeneralGroup&) const = default;
};

struct SegmentGroup {
    std::array<Segment, kSegmentCount> seg{};  // indexed by SegmentName
    Segment ldtr, tr;
    DescriptorTable gdtr, idtr;
    bool operator==(const SegmentGroup&) const = default;
};

struct ControlGroup {
    u64 cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0, xcr0 = 1, efer = 0;
    std::array<u64, 4> pdpte{};  // PAE paging's four registers, loaded by MOV CR3 (SDM vol. 3A, 4.4.1)
    bool operator==(const ControlGroup&) const = default;
};

struct DebugGroup {
    std::array<u64, 4> dr{};  // DR0-DR3
    u64 dr6 = 0xffff0ff0, dr7 = 0x400;
    bool operator==(const DebugGroup&) const = default;
};

// Model-specific registers with state of their own (EFER is in ControlGroup; FS.base/GS.base are in the segments).
struct MsrGroup {
    u64 star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0;
    u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
    u64 apic_base = 0, pat = 0x0007040600070406, misc_enable = 1, tsc_aux = 0;
    u64 tsc = 0;  // the value at the moment of the pull; it runs on while the guest does
    u64 mtrr_def_type = 0;
    std::array<u64, 11> mtrr_fixed{};     // 250h, 258h, 259h, 268h-26Fh
    std::array<u64, 16> mtrr_variable{};  // 200h-20Fh: base, mask, base, mask ...
    u64 mcg_status = 0;
    u64 tsc_adjust = 0;  // how far WRMSR has moved the time stamp counter
    u64 mcg_ctl = 0;
    std::array<u64, 16> machine_check{};  // 400h-40Fh: control, status, address, miscellaneous of each bank
    bool operator==(const MsrGroup&) const = default;
};

// An 80-bit x87 register: 64-bit significand, 16 bits of sign and exponent.
struct X87Register {
    u64 significand = 0;
    u16 sign_exponent = 0;
    bool operator==(const X87Register&) const = default;
};

// A vector register, as wide as YMM so that AVX needs no new file; XMM is its low 16 bytes.
struct alignas(32) VectorRegister {
    std::array<u8, 32> bytes{};
    bool operator==(const VectorRegister&) const = default;
};

struct FpuGroup {                     // SDM vol. 1, 8.1 and 10.2
    std::array<X87Register, 8> st{};  // physical registers R0-R7 are st[(top + i) & 7]; stored here as R0-R7
    u16 fcw = 0x0040, fsw = 0, fop = 0;
    u8 ftw = 0xff;  // one bit per physical register, FXSAVE's abridged form: 1 = not empty
    u64 fip = 0, fdp = 0;
    u16 fcs = 0, fds = 0;
    std::array<VectorRegister, 16> vector{};
    u32 mxcsr = 0x1f80;
    bool operator==(const FpuGroup&) const = default;
};

// Events in flight between two instructions.
struct EventGroup {
    bool exception_pending = false;  // an exception that has been raised but not delivered
    u8 exception_vector = 0;
    bool exception_has_error_code = false;
    u32 exception_error_code = 0;
    bool interrupt_accepted = false;  // an external interrupt that is acknowledged but not yet delivered
    u8 interrupt_vector = 0;
    bool interrupt_shadow_sti = false;     // the instruction before was STI
    bool interrupt_shadow_mov_ss = false;  // the instruction before was MOV SS / POP SS
    bool nmi_masked = false;               // between an NMI and its IRET
    bool nmi_pending = false;
    bool halted = false;  // waiting in HLT
    bool operator==(const EventGroup&) const = default;
};

// Which groups a transfer moves; a set, as bits.
enum class Groups : u32 {
    None = 0,
    General = 1,
    Segments = 2,
    Control = 4,
    Debug = 8,
    Msrs = 16,
    Fpu = 32,
    Events = 64,
    All = 127,
};
constexpr Groups operator|(Groups a, Groups b) {
    return static_cast<Groups>(static_cast<u32>(a) | static_cast<u32>(b));
}
constexpr Groups operator&(Groups a, Groups b) {
    return static_cast<Groups>(static_cast<u32>(a) & static_cast<u32>(b));
}
constexpr Groups operator~(Groups a) {
    return static_cast<Groups>(~static_cast<u32>(a) & static_cast<u32>(Groups::All));
}
constexpr bool any(Groups a) { return a != Groups::None; }

// The three code sizes a CPU can be in; with CR0.PE, EFLAGS.VM and EFER.LMA they make up "the mode".
enum class CpuMode : u8 { Real, Virtual8086, Protected16, Protected32, Compatibility16, Compatibility32, Long64 };

struct CpuFile {
    GeneralGroup general;
    SegmentGroup segments;
    ControlGroup control;
    DebugGroup debug;
    MsrGroup msrs;
    FpuGroup fpu;
    EventGroup events;

    bool operator==(const CpuFile&) const = default;

    // The state after RESET (SDM vol. 3A, table 9-1), for the bootstrap processor.
    void reset();

    CpuMode mode() const;
    u32 cpl() const;        // current privilege level; 0 in real mode, 3 in virtual-8086 mode
    u64 code_base() const;  // what is added to RIP to get a linear address
};

const char* to_string(CpuMode mode);

// A register dump in the form the command line prints: general, segments, control, events.
std::string to_text(const CpuFile& cpu);

// One line per register that differs between two files, "name: a <> b"; empty if they are equal. Only the named
// groups are compared; the time stamp counter never is (it is time, not state).
std::string differences(const CpuFile& a, const CpuFile& b, Groups groups);

}  // namespace dualvm
