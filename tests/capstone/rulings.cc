#include "opinions.h"

namespace dualvm::capstone {

const std::vector<Ruling>& rulings() {
    static const std::vector<Ruling> all = {
        // Prefixes.
        {About::Lock, 32, {0xf0, 0x03, 0x00}, "(bad)", "add", "vol. 2A, LOCK: #UD but before some that write memory"},
        {About::BlankEntry,
         64,
         {0xf3, 0x0f, 0xe8, 0xc0},
         "(bad)",
         "psubsb",
         "vol. 2D, A.2.1: the prefix selects a blank entry, which is reserved"},
        {About::SixteenBits,
         16,
         {0xf3, 0x0f, 0x58, 0xc1},
         "addss",
         "addps",
         "vol. 2A, 2.1.2: mandatory prefixes are the same in all modes"},
        {About::SeveralPrefixes,
         32,
         {0x66, 0xf3, 0x61},
         "popa",
         "popad",
         "vol. 2A, 2.1.1: the order of prefixes says nothing; 2.2.1.2: REX.W goes before 66"},
        // Reserved NOPs and hints, which Capstone 4.0.2 knows in part.
        {About::Names, 64, {0x0f, 0x1a, 0xc1}, "nop", "(bad)", "vol. 2D, table A-3: 0F 18 to 0F 1F are reserved NOPs"},
        {About::Names,
         64,
         {0x0f, 0x0d, 0x3a},
         "prefetch",
         "(bad)",
         "vol. 2D, table A-3: 0F 0D; AMD APM vol. 3, PREFETCH: /2 to /7 too"},
        {About::Names, 64, {0x0f, 0x0d, 0x10}, "prefetchwt1", "(bad)", "vol. 2B, PREFETCHWT1"},
        {About::Names, 16, {0xf3, 0x90}, "pause", "nop", "vol. 2B, PAUSE: in all modes"},
        {About::Names, 64, {0x0f, 0xae, 0xe9}, "lfence", "(bad)", "vol. 2A, LFENCE: 0F AE E8 to EF are all LFENCE"},
        {About::Names, 64, {0x0f, 0xae, 0xf5}, "mfence", "(bad)", "vol. 2B, MFENCE: 0F AE F0 to F7 are all MFENCE"},
        {About::Names, 64, {0x0f, 0xae, 0xfe}, "sfence", "(bad)", "vol. 2B, SFENCE: 0F AE F8 to FF are all SFENCE"},
        // Undefined instructions.
        {About::Names, 64, {0x0f, 0xff, 0x00}, "ud0", "*", "vol. 2B, UD: UD0 has a ModRM byte"},
        {About::Names, 64, {0x0f, 0xb9, 0x00}, "ud1", "*", "vol. 2B, UD: UD1 has a ModRM byte"},
        {About::Names,
         64,
         {0x0f, 0x22, 0xca},
         "(bad)",
         "mov",
         "vol. 2B, MOV to/from control registers: others than CR0, 2, 3, 4, 8 are #UD"},
        {About::Names, 32, {0x0f, 0x01, 0xf8}, "(bad)", "swapgs", "vol. 2B, SWAPGS: in 64-bit mode only"},
        // Sizes.
        {About::Names, 16, {0x98}, "cbw", "cwde", "vol. 2A, CBW/CWDE: the 16-bit operand size is CBW's"},
        {About::Names, 16, {0x99}, "cwd", "cdq", "vol. 2A, CWD/CDQ: the 16-bit operand size is CWD's"},
        {About::NearBranch,
         64,
         {0x66, 0xe8, 0, 0, 0, 0},
         "call",
         "call",
         "vol. 2A, CALL: the operand size is 64 bits, whatever the prefix; JMP and Jcc likewise"},
        {About::Names,
         64,
         {0x44, 0x8e, 0xd8},
         "mov",
         "(bad)",
         "vol. 2A, 2.2.1.2: REX.R is ignored where ModRM.reg is a segment register"},
        {About::Names, 64, {0x48, 0x0f, 0x6e, 0x00}, "movq", "movd", "vol. 2B, MOVD/MOVQ: MOVQ with REX.W"},
        {About::Names, 64, {0x67, 0x4a, 0xc2, 0, 0}, "ret", "ret", "vol. 2B, RET: C2 has two bytes of immediate"},
    };
    return all;
}

}  // namespace dualvm::capstone
