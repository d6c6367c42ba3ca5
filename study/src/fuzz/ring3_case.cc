#include "dualvm/study/ring3_case.h"

namespace dualvm::study {

bool CaseResult::reached_filler(const Case& of) const {
    constexpr u8 kGeneralProtection = 13;
    if (ending != Ending::Exception || vector != kGeneralProtection || error_code != 0) return false;
    const u64 rip = general.rip;
    if (rip < ring3::kCode || rip >= ring3::kCode + ring3::kCodeBytes) return false;
    return rip < of.code_begin() || rip >= of.code_end();
}

bool host_is_of_other_maker() { return __builtin_cpu_is("intel") == 0; }

Distrust common_distrust(Runner& oracle) {
    Distrust distrust;
    distrust.other_maker = host_is_of_other_maker();
    CaseResult result;
    Case flags;
    flags.code = {0x90};
    flags.rflags |= ring3::kFreeFlags & ~rflags::TF;
    oracle.run(flags, result);
    distrust.flags = (flags.rflags ^ result.general.rflags) & ring3::kFreeFlags;
    Case int1;
    int1.code = {0xf1};
    oracle.run(int1, result);
    distrust.int1 = result.general.rip != int1.code_end();
    return distrust;
}

}  // namespace dualvm::study
