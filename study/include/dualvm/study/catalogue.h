// The instruction catalogue: every mnemonic x operand form x mode that x86 has, and which of them the CPU model
// promises.
//
// It is found by decoding, not written down: all opcode maps are walked with Zydis, and what it recognizes is
// collected. Who wants to know whether everything advertised is tested (./dev coverage), or what to generate (dualvm
// fuzz), starts from here.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dualvm/cpu_model.h"

namespace dualvm::study {

// Default operand and address size of the code segment.
enum class CodeMode : u8 { Bits16 = 16, Bits32 = 32, Bits64 = 64 };

// A bit of a CPUID leaf (SDM vol. 2A, "CPUID"; AMD APM vol. 3, appendix E).
struct CpuidFeature {
    const char* name = "";
    u32 leaf = 0, subleaf = 0;
    char reg = 'a';  // 'a', 'b', 'c' or 'd': EAX, EBX, ECX or EDX
    unsigned bit = 0;
};

struct InstructionForm {
    CodeMode mode = CodeMode::Bits64;
    std::string mnemonic;  // "add"
    // The operands in the manual's spelling, one instruction at a time: "r32, imm8" and "m32, imm8" are two forms,
    // which the manual's table writes in one line as "r/m32, imm8" (SDM vol. 2A, 3.1.1.3).
    std::string operands;
    std::string isa_set, isa_extension, category;  // Zydis's names: "SSE2MMX", "SSE2", "DATAXFER"
    const CpuidFeature* feature = nullptr;         // nullptr: every x86-64 has it
    bool advertised = false;                       // by the CPU model
    // Not advertised, but no #UD either: the encoding is an older instruction with a prefix that it ignores, or one of
    // the reserved NOPs. The key of that one: TZCNT is "64/bsf/r32, r32".
    std::string reads_as;
    bool memory = false;       // has an explicit memory operand
    bool privileged = false;   // ring 0 only
    bool system = false;       // category SYSTEM, or it reads or writes a control, debug or table register
    bool io = false;           // IN, OUT, INS, OUTS
    bool allows_lock = false;  // SDM vol. 2A, "LOCK"
    bool allows_rep = false;   // REP, REPE or REPNE has its meaning
    // One example for each way of encoding it (opcode, ModRM.reg where it selects, operand size), shortest prefixes
    // first; never empty. Registers are the ones numbered 0, immediates and displacements are 0.
    std::vector<std::vector<u8>> encodings;

    const std::vector<u8>& example() const { return encodings.front(); }
    std::string key() const;  // "64/add/r32, imm8"
};

// Sorted by mode, mnemonic, operands. Takes about a second for each mode; the result is worth keeping.
std::vector<InstructionForm> instruction_catalogue(const CpuModel& model);
std::vector<InstructionForm> instruction_catalogue(const CpuModel& model, CodeMode mode);

// Names the form of a given instruction, as a CPU of this model reads it (TZCNT is BSF where there is no BMI1).
class FormNames {
public:
    explicit FormNames(const CpuModel& model);
    ~FormNames();
    FormNames(FormNames&&) noexcept;
    FormNames& operator=(FormNames&&) noexcept;

    // The key of the instruction at the start of `bytes`; nothing if they begin none.
    std::optional<std::string> key(CodeMode mode, std::span<const u8> bytes) const;

private:
    struct Decoders;
    std::unique_ptr<Decoders> decoders_;
};

}  // namespace dualvm::study
