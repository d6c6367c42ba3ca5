// Virtual interrupts: what a virtual-8086 program (CR4.VME) or a ring-3 program (CR4.PVI) that may not change IF does
// to VIF instead (SDM vol. 3A, 20.3 and 20.4).
#pragma once

#include "system.h"

namespace dualvm::interp {

inline u32 io_privilege_level(const State& s) { return static_cast<u32>((s.cpu.general.rflags & rflags::IOPL) >> 12); }

// CLI and STI act on VIF: virtual-8086 mode with VME, or CPL 3 with PVI, where IOPL forbids IF itself.
inline bool has_virtual_interrupt_flag(const State& s) {
    if (s.cpu.cpl() != 3 || io_privilege_level(s) == 3 || !s.protected_mode()) return false;
    return (s.cpu.control.cr4 & (s.virtual8086() ? cr4::VME : cr4::PVI)) != 0;
}

// PUSHF, POPF, IRET and redirected INT n too, if their operands have 16 bits: in virtual-8086 mode only.
inline bool has_virtual_flags(const State& s, unsigned size) {
    return size == 2 && s.virtual8086() && io_privilege_level(s) < 3 && (s.cpu.control.cr4 & cr4::VME) != 0;
}

// FLAGS as such a program sees them: VIF in the place of IF, and IOPL 3.
inline u64 virtual_flags(const State& s) {
    const u64 flags = s.cpu.general.rflags;
    return (flags & ~rflags::IF) | rflags::IOPL | ((flags & rflags::VIF) != 0 ? rflags::IF : 0);
}

// Loads them from what POPF or IRET popped: IF goes to VIF, and IOPL stays. False: the monitor has to look, for TF or
// because an interrupt waits that the program now allows; #GP(0) is set.
bool load_virtual_flags(State& s, u64 image);

// Does INT `vector` of a virtual-8086 program go to the program's own handler? The redirection bitmap lies below the
// I/O permission bitmap of the TSS (20.3.3). False: the fault of reading it is set.
bool redirects_interrupt(State& s, u8 vector, bool& redirected);

}  // namespace dualvm::interp
