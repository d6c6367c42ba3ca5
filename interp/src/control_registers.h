// What loading control registers means beyond storing a value.
#pragma once

#include "system.h"

namespace dualvm::interp {

// True if PAE paging (32-bit, three levels) is what these registers select.
constexpr bool uses_pae_paging(u64 cr0_value, u64 cr4_value, u64 efer_value) {
    return (cr0_value & cr0::PG) != 0 && (cr4_value & cr4::PAE) != 0 && (efer_value & efer::LMA) == 0;
}

// The four page-directory-pointer entries that `cr3` points at. False if one has reserved bits set (the caller raises
// #GP(0)): SDM vol. 3A, 4.4.1.
bool read_pdptes(const State& s, u64 cr3, std::array<u64, 4>& pdptes);

// MOV to CR8: the task priority, four bits.
Flow write_cr8(State& s, u64 value);

// WRMSR to IA32_EFER: SDM vol. 3A, 2.2.1 and 9.8.5. False: #GP(0) is set.
bool write_efer(State& s, u64 value);

}  // namespace dualvm::interp
