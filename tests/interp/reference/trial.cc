#include "trial.h"

#include <fmt/format.h>

#include <cstring>
#include <sstream>

namespace dualvm::interp {

namespace {

bool host_is_intels() { return __builtin_cpu_is("intel") != 0; }

constexpr u64 kComparedFlags = rflags::Arithmetic | rflags::DF | rflags::NT | rflags::ID;

ZydisRegister register_of(unsigned number, unsigned size) {
    switch (size) {
        case 1:
            return static_cast<ZydisRegister>(number < 4 ? ZYDIS_REGISTER_AL + number
                                                         : ZYDIS_REGISTER_SPL + (number - 4));
        case 2: return static_cast<ZydisRegister>(ZYDIS_REGISTER_AX + number);
        case 4: return static_cast<ZydisRegister>(ZYDIS_REGISTER_EAX + number);
        default: return static_cast<ZydisRegister>(ZYDIS_REGISTER_RAX + number);
    }
}

unsigned number_of(ZydisRegister reg) {
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) return static_cast<unsigned>(reg - ZYDIS_REGISTER_AH);
    if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B) {
        return static_cast<unsigned>(reg - ZYDIS_REGISTER_SPL + 4);
    }
    return static_cast<unsigned>(ZydisRegisterGetId(reg));
}

bool is_bit_test(ZydisMnemonic m) {
    return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
}

bool is_shift(ZydisMnemonic m) {
    switch (m) {
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR:
        case ZYDIS_MNEMONIC_SAR:
        case ZYDIS_MNEMONIC_ROL:
        case ZYDIS_MNEMONIC_ROR:
        case ZYDIS_MNEMONIC_RCL:
        case ZYDIS_MNEMONIC_RCR:
        case ZYDIS_MNEMONIC_SHLD:
        case ZYDIS_MNEMONIC_SHRD: return true;
        default: return false;
    }
}

std::string hex(std::span<const u8> bytes) {
    std::string s;
    for (u8 b : bytes) s += fmt::format("{:02x} ", b);
    return s;
}

}  // namespace

u64 TrialMaker::value() {
    switch (below(6)) {
        case 0: return below(8);
        case 1: return ~below(8);
        case 2: return (u64{1} << (8 * (1 + below(8)) - 1)) - below(3);  // around a sign bit
        case 3: return random_() >> below(64);
        default: return random_();
    }
}

u64 TrialMaker::window_address() {
    switch (below(8)) {
        case 0: return kWindow - 4 + below(8);                                // at its beginning
        case 1: return kWindow + kWindowBytes - 9 + below(12);                // at its end
        case 2: return kWindow + kWritablePages * kPageSize - 9 + below(12);  // into the read-only page
        case 3: return kWindow + kPageSize - 9 + below(12);                   // across two pages
        default: return kWindow + 16 * below(kWindowBytes / 16) + (below(2) == 0 ? 0 : below(16));
    }
}

void TrialMaker::start(Trial& trial) {
    trial = Trial{};
    for (u64& r : trial.gpr) r = bits_ == Bits::Mode64 ? value() : value() & 0xffffffff;
    trial.gpr[RSP] = kWindow + kPageSize + 8 * below(64);
    // IF is always set in a user program, IOPL is 0.
    trial.rflags = rflags::Fixed1 | rflags::IF | (random_() & (rflags::Arithmetic | rflags::DF));
}

ZydisEncoderOperand TrialMaker::reg(unsigned size) {
    ZydisEncoderOperand o{};
    o.type = ZYDIS_OPERAND_TYPE_REGISTER;
    unsigned number = RSP;
    // SPL, SP and ESP as operands would leave the stack pointer where no signal handler can live with it.
    while (number == RSP) number = static_cast<unsigned>(below(bits_ == Bits::Mode64 ? 16 : 8));
    if (size == 1 && (bits_ == Bits::Mode32 || below(4) == 0)) {
        o.reg.value = static_cast<ZydisRegister>(ZYDIS_REGISTER_AL + below(8));  // AL..BL, AH..BH
    } else {
        o.reg.value = register_of(number, size);
    }
    return o;
}

// Base, index and displacement are random; the base register is then set so that the address comes out right.
ZydisEncoderOperand TrialMaker::memory(unsigned size, Trial& trial) {
    const bool wide = bits_ == Bits::Mode64;
    const unsigned registers = wide ? 16 : 8, address_size = wide ? (below(8) == 0 ? 4 : 8) : 4;
    ZydisEncoderOperand o{};
    o.type = ZYDIS_OPERAND_TYPE_MEMORY;
    o.mem.size = static_cast<u16>(size);
    unsigned base = RSP, index = RSP;
    while (base == RSP) base = static_cast<unsigned>(below(registers));
    while (index == RSP || index == base) index = static_cast<unsigned>(below(registers));
    o.mem.base = register_of(base, address_size);
    o.mem.displacement = below(3) == 0 ? 0 : static_cast<i32>(value());
    u64 offset = static_cast<u64>(o.mem.displacement);
    if (below(2) == 0) {
        o.mem.index = register_of(index, address_size);
        o.mem.scale = static_cast<u8>(1u << below(4));
        offset += trial.gpr[index] * o.mem.scale;
    }
    trial.memory = true;
    trial.address = window_address();
    if (size == 16 && below(2) == 0) trial.address &= ~u64{15};
    // Not canonical: bits 63 and 62 differ, with 4 as well as with 5 levels of page tables. Not for 16 bytes: which of
    // #SS and the #GP of misalignment comes first is not documented.
    if (address_size == 8 && size < 16 && below(32) == 0) trial.address |= u64{1} << 63;
    trial.gpr[base] = trial.address - offset;
    if (!wide) trial.gpr[base] &= 0xffffffff;
    return o;
}

bool TrialMaker::add_operand(const std::string& token, Trial& trial, ZydisEncoderRequest& request) {
    ZydisEncoderOperand& o = request.operands[request.operand_count++];
    o.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
    if (token == "one" || token == "i8") {
        o.imm.u = token == "one" ? 1 : below(256);
        trial.count = static_cast<unsigned>(o.imm.u);
        if (!is_shift(trial.mnemonic)) o.imm.s = static_cast<i8>(o.imm.u);
        return true;
    }
    if (token == "cl") {
        o.type = ZYDIS_OPERAND_TYPE_REGISTER;
        o.reg.value = ZYDIS_REGISTER_CL;
        return true;
    }
    const std::size_t letters = token.find_first_of("0123456789");
    const std::string kind = token.substr(0, letters);
    const unsigned size =
        letters == std::string::npos ? trial.size : static_cast<unsigned>(std::stoul(token.substr(letters)));
    if (kind == "i") {
        const u64 raw = value();
        o.imm.s = size == 1 ? static_cast<i8>(raw) : size == 2 ? static_cast<i16>(raw) : static_cast<i32>(raw);
        return true;
    }
    o = kind == "r" || (kind == "rm" && below(2) == 0) ? reg(size) : memory(size, trial);
    return true;
}

// The bit offset in a register reaches 2^60 bytes far; both CPUs are to stay in sight of the window.
void TrialMaker::bound_bit_offset(Trial& trial, const ZydisEncoderRequest& request) {
    if (!trial.memory || request.operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) return;
    const unsigned number = number_of(request.operands[1].reg.value);
    const auto& mem = request.operands[0].mem;
    constexpr i64 kReach = 8 * 0x1000;
    const auto offset = static_cast<u64>(static_cast<i64>(below(2 * kReach)) - kReach);
    const bool in_address =
        number == number_of(mem.base) || (mem.index != ZYDIS_REGISTER_NONE && number == number_of(mem.index));
    if (!in_address) {
        trial.gpr[number] = bits_ == Bits::Mode64 ? offset : offset & 0xffffffff;
    } else if (trial.size != 2) {
        trial.insn.clear();  // not this one
    }
}

// Compare-and-exchange is to succeed as often as not.
void TrialMaker::make_equal_sometimes(Trial& trial, const ZydisEncoderRequest& request) {
    if (below(2) == 0) return;
    const ZydisEncoderOperand& to = request.operands[0];
    if (!trial.memory) {
        const bool high = to.reg.value >= ZYDIS_REGISTER_AH && to.reg.value <= ZYDIS_REGISTER_BH;
        const u64 value = trial.gpr[number_of(to.reg.value)] >> (high ? 8 : 0), mask = size_mask(trial.size);
        if (!high || number_of(to.reg.value) != RAX) trial.gpr[RAX] = (trial.gpr[RAX] & ~mask) | (value & mask);
        return;
    }
    for (ZydisRegister r : {to.mem.base, to.mem.index}) {
        if (r != ZYDIS_REGISTER_NONE && (number_of(r) == RAX || number_of(r) == RDX)) return;
    }
    if (trial.address < kWindow || trial.address + 16 > kWindow + kWindowBytes) return;
    const bool pair = trial.mnemonic != ZYDIS_MNEMONIC_CMPXCHG;
    const unsigned part = pair ? to.mem.size / 2u : trial.size;
    const auto* bytes = reinterpret_cast<const u8*>(trial.address);
    std::memcpy(&trial.gpr[RAX], bytes, part);
    if (pair) std::memcpy(&trial.gpr[RDX], bytes + part, part);
}

void TrialMaker::make_raw(std::span<const u8> insn, Trial& trial) {
    start(trial);
    trial.insn.assign(insn.begin(), insn.end());
}

bool TrialMaker::make(const Form& form, Trial& trial) {
    start(trial);
    trial.mnemonic = form.mnemonic;
    trial.size = form.sizes[below(form.sizes.size())];
    ZydisEncoderRequest request{};
    request.machine_mode = bits_ == Bits::Mode64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32;
    request.mnemonic = form.mnemonic;
    std::istringstream tokens(form.operands);
    for (std::string token; tokens >> token;) {
        if (!add_operand(token, trial, request)) return false;
    }
    trial.insn.resize(ZYDIS_MAX_INSTRUCTION_LENGTH);
    ZyanUSize length = trial.insn.size();
    if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, trial.insn.data(), &length))) return false;
    trial.insn.resize(length);
    if (is_bit_test(form.mnemonic)) bound_bit_offset(trial, request);
    if (form.mnemonic == ZYDIS_MNEMONIC_CMPXCHG || form.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B ||
        form.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B) {
        make_equal_sometimes(trial, request);
    }
    if (is_shift(form.mnemonic)) {
        if (request.operands[request.operand_count - 1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            trial.count = static_cast<unsigned>(trial.gpr[RCX] & 0xff);
        }
        trial.count &= trial.size == 8 ? 63 : 31;
        // "If the count is greater than the operand size, the result is undefined" (SDM vol. 2B, "SHLD"); the reference
        // does as Intel's CPUs.
        const bool of_two = form.mnemonic == ZYDIS_MNEMONIC_SHLD || form.mnemonic == ZYDIS_MNEMONIC_SHRD;
        if (of_two && trial.count > 8 * trial.size && !host_is_intels()) return false;
    }
    return !trial.insn.empty();
}

// REPE and REPNE that fault give the flags back that they began with, says Intel alone (SDM vol. 2B, "REP").
u64 flags_of_a_fault(const Trial& t) {
    const bool repeats = !t.insn.empty() && (t.insn[0] == 0xf2 || t.insn[0] == 0xf3);
    return repeats && !host_is_intels() ? u64{rflags::Arithmetic} : 0;
}

u64 undefined_flags(const Trial& t) {
    using rflags::AF, rflags::CF, rflags::PF, rflags::SF, rflags::ZF, rflags::Arithmetic;
    constexpr u64 kOverflow = rflags::OF;  // interp has a vector of that name
    const unsigned bits = 8 * t.size;
    switch (t.mnemonic) {
        case ZYDIS_MNEMONIC_AND:
        case ZYDIS_MNEMONIC_OR:
        case ZYDIS_MNEMONIC_XOR:
        case ZYDIS_MNEMONIC_TEST: return AF;
        case ZYDIS_MNEMONIC_SHL:
        case ZYDIS_MNEMONIC_SHR:
            return t.count == 0 ? 0 : AF | (t.count > 1 ? kOverflow : 0) | (t.count >= bits ? CF : 0);
        case ZYDIS_MNEMONIC_SAR: return t.count == 0 ? 0 : AF | (t.count > 1 ? kOverflow : 0);
        case ZYDIS_MNEMONIC_ROL:
        case ZYDIS_MNEMONIC_ROR:
        case ZYDIS_MNEMONIC_RCL:
        case ZYDIS_MNEMONIC_RCR: return t.count > 1 ? kOverflow : 0;
        case ZYDIS_MNEMONIC_SHLD:
        case ZYDIS_MNEMONIC_SHRD:
            if (t.count > bits) return Arithmetic;
            return t.count == 0 ? 0 : AF | (t.count > 1 ? kOverflow : 0);
        case ZYDIS_MNEMONIC_MUL:
        case ZYDIS_MNEMONIC_IMUL: return SF | ZF | AF | PF;
        case ZYDIS_MNEMONIC_DIV:
        case ZYDIS_MNEMONIC_IDIV: return Arithmetic;
        case ZYDIS_MNEMONIC_BT:
        case ZYDIS_MNEMONIC_BTS:
        case ZYDIS_MNEMONIC_BTR:
        case ZYDIS_MNEMONIC_BTC: return kOverflow | SF | AF | PF;
        case ZYDIS_MNEMONIC_BSF:
        case ZYDIS_MNEMONIC_BSR: return CF | kOverflow | SF | AF | PF;
        case ZYDIS_MNEMONIC_AAA:
        case ZYDIS_MNEMONIC_AAS: return kOverflow | SF | ZF | PF;
        case ZYDIS_MNEMONIC_AAM:
        case ZYDIS_MNEMONIC_AAD: return kOverflow | AF | CF;
        case ZYDIS_MNEMONIC_DAA:
        case ZYDIS_MNEMONIC_DAS: return kOverflow;
        default: return 0;
    }
}

namespace {

// "" or what differs, of one try.
std::string compare_once(TestCpu& cpu, HostCpu& host, const Trial& trial, Bits bits) {
    static constexpr const char* kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                             "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    // Both windows the same.
    const std::span<const u8> window(host.window(), kWindowBytes);
    cpu.write_window(window);
    State& s = cpu.state();
    s.cpu.general.gpr = trial.gpr;
    s.cpu.general.rflags = trial.rflags;
    s.cpu.general.rip = kCodeAddress;
    s.cpu.control.cr2 = 0;

    const HostResult there = bits == Bits::Mode64 ? host.run64(trial.insn, trial.gpr, trial.rflags)
                                                  : host.run32(trial.insn, trial.gpr, trial.rflags);
    const Flow flow = cpu.run(trial.insn);

    std::string d;
    const bool here_faulted = flow == Flow::Fault;
    if (here_faulted != there.fault.has_value()) {
        d += fmt::format("  fault: {}, host {}\n", here_faulted ? int{s.fault.vector} : -1,
                         there.fault ? static_cast<int>(there.fault->vector) : -1);
    } else if (here_faulted) {
        const CaughtFault& f = *there.fault;
        if (f.vector != s.fault.vector) d += fmt::format("  vector: {}, host {}\n", s.fault.vector, f.vector);
        if (s.fault.has_error_code && f.error_code != s.fault.error_code) {
            d += fmt::format("  error code: {:x}, host {:x}\n", s.fault.error_code, f.error_code);
        }
        if (s.fault.vector == PF && !trial.reads_two && f.cr2 != s.cpu.control.cr2) {
            d += fmt::format("  cr2: {:x}, host {:x}\n", s.cpu.control.cr2, f.cr2);
        }
    }
    const u64 mask = bits == Bits::Mode64 ? ~u64{0} : 0xffffffff;
    for (unsigned i = 0; i < (bits == Bits::Mode64 ? 16u : 8u); ++i) {
        const u64 a = s.cpu.general.gpr[i] & mask, b = there.gpr[i] & mask;
        if (a != b) d += fmt::format("  {}: {:x}, host {:x} (was {:x})\n", kNames[i], a, b, trial.gpr[i]);
    }
    const u64 flags = kComparedFlags & ~(here_faulted ? flags_of_a_fault(trial) : undefined_flags(trial));
    if ((s.cpu.general.rflags ^ there.rflags) & flags) {
        d += fmt::format("  rflags: {:x}, host {:x} (was {:x}; compared {:x})\n", s.cpu.general.rflags, there.rflags,
                         trial.rflags, flags);
    }
    const u64 went_to = there.jumped ? kBranchTarget : kCodeAddress + (here_faulted ? 0 : trial.insn.size());
    if (cpu.rip() != went_to) d += fmt::format("  rip: {:x}, host {:x}\n", cpu.rip(), went_to);
    std::vector<u8> guest_window(kWindowBytes);
    cpu.read_window(guest_window);
    for (u64 i = 0; i < kWindowBytes; ++i) {
        if (guest_window[i] == window[i]) continue;
        d += fmt::format("  [{:x}]: {:02x}, host {:02x}\n", kWindow + i, guest_window[i], window[i]);
        break;
    }
    if (d.empty()) return d;
    const char* name = trial.mnemonic == ZYDIS_MNEMONIC_INVALID ? "" : ZydisMnemonicGetString(trial.mnemonic);
    return fmt::format("{}{} size {} count {}{}\n{}", hex(trial.insn), name, trial.size, trial.count,
                       trial.memory ? fmt::format(" at {:x}", trial.address) : "", d);
}

}  // namespace

// A kernel that is itself PVM's guest loses NT whenever an interrupt of the host's comes between the instruction and
// the trap behind it: what differs counts when it differs each time.
std::string compare(TestCpu& cpu, HostCpu& host, const Trial& trial, Bits bits) {
    constexpr unsigned kTries = 3;
    const std::vector<u8> before(host.window(), host.window() + kWindowBytes);
    std::string difference = compare_once(cpu, host, trial, bits);
    for (unsigned i = 1; i < kTries && !difference.empty(); ++i) {
        std::copy(before.begin(), before.end(), host.window());
        difference = compare_once(cpu, host, trial, bits);
    }
    return difference;
}

}  // namespace dualvm::interp
