// What CPUID does not advertise raises #UD, and what it does advertise does not: every encoding of the instruction
// catalogue is executed once, in ring 0 of its mode, by the interpreter.
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

#include "dualvm/interp/interpreter.h"
#include "dualvm/study/catalogue.h"

namespace dualvm::study {

namespace {

// Where things lie in guest memory; all of it below 64 KiB, so that it is the same in every mode.
constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kHandlers = 0x3000, kCode = 0x5000, kData = 0x8000, kStack = 0xa000,
              kPageTables = 0x10000;
constexpr u64 kHandlerBytes = 16;
constexpr u16 kCodeSelector = 8, kDataSelector = 16;
constexpr unsigned kVectors = 32, kUd = 6;
constexpr u8 kHlt = 0xf4;

// SDM vol. 3A, 3.4.5: present, DPL 0.
constexpr u64 descriptor(u64 limit, u64 rights) {
    return (limit & 0xffff) | (rights & 0xff) << 40 | (limit >> 16 & 0xf) << 48 | (rights >> 8 & 0xf) << 52;
}
constexpr u64 kCodeRights = 0x9b, kDataRights = 0x93, kDb = 0x400, kL = 0x200, kG = 0x800;

class AdvertisedTest : public ::testing::TestWithParam<CodeMode> {
protected:
    AdvertisedTest() : machine_(std::move(*Machine::create({.memory_mebibytes = 2}))) {
        const CodeMode mode = GetParam();
        const u64 size = mode == CodeMode::Bits64 ? kL : mode == CodeMode::Bits32 ? kDb : 0;
        store(kGdt + kCodeSelector, descriptor(0xfffff, kCodeRights | kG | size));
        store(kGdt + kDataSelector, descriptor(0xfffff, kDataRights | kG | (mode == CodeMode::Bits16 ? 0 : kDb)));
        for (u64 vector = 0; vector < kVectors; ++vector) {
            const u64 handler = kHandlers + vector * kHandlerBytes;
            store(handler, kHlt);
            // An interrupt gate of the mode's size (SDM vol. 3A, figures 6-2 and 6-8); the 64-bit one has 16 bytes.
            const u64 type = mode == CodeMode::Bits16 ? 0x86 : 0x8e;
            const u64 step = mode == CodeMode::Bits64 ? 16 : 8;
            store(kIdt + vector * step, handler | u64{kCodeSelector} << 16 | type << 40);
        }
        if (mode == CodeMode::Bits64) {
            constexpr u64 kPresentWritable = 3, kLarge = 0x80;
            store(kPageTables, (kPageTables + 0x1000) | kPresentWritable);
            store(kPageTables + 0x1000, (kPageTables + 0x2000) | kPresentWritable);
            store(kPageTables + 0x2000, kPresentWritable | kLarge);
        }
        engine_ = make_interpreter(*machine_);
    }

    // Does `instruction` raise #UD?
    bool undefined(const std::vector<u8>& instruction) {
        std::array<u8, 16> code;
        code.fill(kHlt);
        std::copy(instruction.begin(), instruction.end(), code.begin());
        EXPECT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
        EXPECT_TRUE(machine_->vmem().fill(kData, kHlt, kPageSize));  // a jump there ends as well
        machine_->cpu() = start();
        engine_->push(Groups::All);
        (void)engine_->run({.instructions = 2});  // the instruction and the HLT behind it or of a handler
        (void)machine_->take_request();
        engine_->pull(Groups::General);
        // #UD is a fault: the saved instruction pointer, on top of the stack, is that of the instruction.
        const GeneralGroup& general = machine_->cpu().general;
        u16 saved = 0;
        return general.rip == kHandlers + kUd * kHandlerBytes + 1 &&
               machine_->vmem().read_value(general.gpr[RSP], saved) && saved == kCode;
    }

private:
    void store(u64 address, u64 value) { EXPECT_TRUE(machine_->vmem().write_value(address, value)); }

    CpuFile start() const {
        const CodeMode mode = GetParam();
        CpuFile cpu;
        cpu.reset();
        cpu.control.cr0 = cr0::PE | cr0::NE | cr0::ET;
        cpu.control.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT;
        cpu.control.efer = efer::SCE;
        const u32 size = mode == CodeMode::Bits64 ? Segment::L : mode == CodeMode::Bits32 ? Segment::DB : 0;
        if (mode == CodeMode::Bits64) {
            cpu.control.cr0 |= cr0::PG;
            cpu.control.cr3 = kPageTables;
            cpu.control.cr4 |= cr4::PAE;
            cpu.control.efer |= efer::LME | efer::LMA;
        }
        const u32 data = Segment::P | Segment::S | Segment::G | 3 | (mode == CodeMode::Bits16 ? 0 : Segment::DB);
        for (Segment& s : cpu.segments.seg) s = {.limit = 0xffffffff, .access = data, .selector = kDataSelector};
        cpu.segments.seg[CS] = {
            .limit = 0xffffffff, .access = Segment::P | Segment::S | Segment::G | 11 | size, .selector = kCodeSelector};
        cpu.segments.gdtr = {.base = kGdt, .limit = 0x17};
        cpu.segments.idtr = {.base = kIdt, .limit = 0x1ff};
        // Memory operands with RAX, or with BX and SI, point at aligned data.
        cpu.general.gpr.fill(0);
        for (Gpr r : {RAX, RBX, RDI}) cpu.general.gpr[r] = kData;
        cpu.general.gpr[RCX] = 1;
        cpu.general.gpr[RSP] = cpu.general.gpr[RBP] = kStack;
        cpu.general.rip = kCode;
        return cpu;
    }

    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
};

// Advertised, and yet #UD where this test runs it.
bool undefined_by_the_manual(const InstructionForm& form) {
    static const std::set<std::string> always = {"ud0", "ud1", "ud2",
                                                 "rsm"};  // outside of system-management mode (SDM vol. 2B, "RSM")
    // On the CPUs of Intel, of which the model is one, they are for 64-bit mode (SDM vol. 2B, "SYSCALL", "SYSRET").
    static const std::set<std::string> long_mode = {"syscall", "sysret"};
    return always.contains(form.mnemonic) || (form.mode != CodeMode::Bits64 && long_mode.contains(form.mnemonic));
}

std::string to_text(const std::vector<u8>& bytes) {
    std::string text;
    for (u8 byte : bytes) {
        constexpr const char* kDigits = "0123456789abcdef";
        text += {kDigits[byte >> 4], kDigits[byte & 15], ' '};
    }
    return text;
}

TEST_P(AdvertisedTest, UndefinedIsWhatCpuidDoesNotAdvertise) {
    for (const InstructionForm& form : instruction_catalogue(CpuModel::standard(), GetParam())) {
        const bool defined = form.advertised ? !undefined_by_the_manual(form) : !form.reads_as.empty();
        for (const std::vector<u8>& bytes : form.encodings) {
            EXPECT_EQ(!undefined(bytes), defined) << form.key() << " (" << to_text(bytes) << ") of " << form.isa_set;
        }
    }
}

// Knights Corner's POPCNT, LZCNT and TZCNT, which Zydis knows: on all other CPUs VEX has nothing there.
TEST_P(AdvertisedTest, VexEncodingsOfIntegerInstructionsAreUndefined) {
    for (u8 opcode : std::initializer_list<u8>{0xb8, 0xbc, 0xbd})
        EXPECT_TRUE(undefined({0xc4, 0xe1, 0x7a, opcode, 0xc0}));
}

INSTANTIATE_TEST_SUITE_P(Modes, AdvertisedTest, ::testing::Values(CodeMode::Bits16, CodeMode::Bits32, CodeMode::Bits64),
                         [](const auto& mode) { return "Bits" + std::to_string(static_cast<int>(mode.param)); });

}  // namespace

}  // namespace dualvm::study
