// libFuzzer target: bytes and a state become a step. The input chooses a scene, changes whatever it likes in the
// registers (a state that no CPU gets into, but a snapshot may hold) and in memory, and gives the code; up to sixteen
// instructions are run.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "life.h"

namespace {

using namespace dualvm;
using namespace dualvm::scene;

class Input {
public:
    explicit Input(std::span<const u8> bytes) : bytes_(bytes) {}
    u64 number(unsigned size) {
        u64 value = 0;
        for (unsigned i = 0; i < size && !bytes_.empty(); ++i) {
            value |= u64{bytes_.front()} << (8 * i);
            bytes_ = bytes_.subspan(1);
        }
        return value;
    }
    u8 byte() { return static_cast<u8>(number(1)); }
    std::vector<u8> rest(std::size_t most) {
        const auto taken = bytes_.first(std::min(most, bytes_.size()));
        bytes_ = bytes_.subspan(taken.size());
        return {taken.begin(), taken.end()};
    }

private:
    std::span<const u8> bytes_;
};

void change_segment(Segment& s, unsigned field, u64 value) {
    switch (field) {
        case 0: s.base = value; break;
        case 1: s.limit = static_cast<u32>(value); break;
        case 2: s.access = static_cast<u32>(value); break;
        default: s.selector = static_cast<u16>(value); break;
    }
}

// One register of the file, by number.
void change(CpuFile& cpu, unsigned which, u64 value) {
    auto next = [&](unsigned count) {
        const bool here = which < count;
        if (!here) which -= count;
        return here;
    };
    if (next(16)) {
        cpu.general.gpr[which] = value;
    } else if (next(4 * kSegmentCount)) {
        change_segment(cpu.segments.seg[which / 4], which % 4, value);
    } else if (next(4)) {
        change_segment(cpu.segments.ldtr, which, value);
    } else if (next(4)) {
        change_segment(cpu.segments.tr, which, value);
    } else if (next(4)) {
        DescriptorTable& table = which < 2 ? cpu.segments.gdtr : cpu.segments.idtr;
        (which & 1) ? void(table.base = value) : void(table.limit = static_cast<u16>(value));
    } else if (next(6)) {
        u64* const registers[] = {&cpu.control.cr0, &cpu.control.cr2, &cpu.control.cr3,
                                  &cpu.control.cr4, &cpu.control.cr8, &cpu.control.efer};
        *registers[which] = value;
    } else if (next(4)) {
        cpu.control.pdpte[which] = value;
    } else if (next(4)) {
        cpu.debug.dr[which] = value;
    } else if (next(2)) {
        (which == 0 ? cpu.debug.dr6 : cpu.debug.dr7) = value;
    } else if (next(8)) {
        MsrGroup& m = cpu.msrs;
        u64* const registers[] = {&m.star,        &m.lstar,        &m.cstar,        &m.sfmask,
                                  &m.sysenter_cs, &m.sysenter_esp, &m.sysenter_eip, &m.kernel_gs_base};
        *registers[which] = value;
    } else if (next(8)) {
        cpu.fpu.st[which] = {.significand = value, .sign_exponent = static_cast<u16>(value >> 3)};
    } else if (next(4)) {
        FpuGroup& f = cpu.fpu;
        switch (which) {
            case 0: f.fcw = static_cast<u16>(value); break;
            case 1: f.fsw = static_cast<u16>(value); break;
            case 2: f.ftw = static_cast<u8>(value); break;
            default: f.mxcsr = static_cast<u32>(value); break;
        }
    } else if (next(16)) {
        for (unsigned i = 0; i < 16; ++i) cpu.fpu.vector[which].bytes[i] = static_cast<u8>(value >> (i % 8 * 8));
    } else if (next(1)) {
        EventGroup& e = cpu.events;
        e.exception_pending = value & 1;
        e.exception_has_error_code = value & 2;
        e.interrupt_accepted = value & 4;
        e.interrupt_shadow_sti = value & 8;
        e.interrupt_shadow_mov_ss = value & 16;
        e.nmi_masked = value & 32;
        e.nmi_pending = value & 64;
        e.halted = value & 128;
        e.exception_vector = static_cast<u8>(value >> 8);
        e.interrupt_vector = static_cast<u8>(value >> 16);
        e.exception_error_code = static_cast<u32>(value >> 24);
    } else if (which % 2 == 0) {
        cpu.general.rip = value;
    } else {
        cpu.general.rflags = value | rflags::Fixed1;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    static Lives lives;
    Input input({data, size});
    Life life;
    life.scene = input.byte() % all_scenes().size();
    life.cpu = first_state(all_scenes()[life.scene]);
    const unsigned sizes = input.byte();  // of the changes: how many there are, of registers and of memory
    for (unsigned i = 0; i < sizes % 16; ++i) {
        const u8 which = input.byte();
        change(life.cpu, which & 0x7f, input.number((which & 0x80) != 0 ? 8 : 3));
    }
    for (unsigned i = 0; i < sizes / 16; ++i) {
        const u64 address = input.number(3) % (kMemoryMebibytes << 20);
        life.pokes.emplace_back(address & ~u64{7}, input.number(8));
    }
    life.instructions = 1 + input.byte() % 16;
    life.code = input.rest(64);
    life.data.assign(life.code.rbegin(), life.code.rend());
    const std::string wrong = lives.live(life);
    if (!wrong.empty()) {
        std::fprintf(stderr, "%s\n%s", to_text(all_scenes()[life.scene]).c_str(), wrong.c_str());
        std::abort();
    }
    return 0;
}
