// A device of one's own on the shared machine, and a guest of six instructions that uses it: a counter at port 300h
// that counts the bytes written to it.
#include <dualvm/interp/interpreter.h>
#include <dualvm/machine.h>
#include <dualvm/run_loop.h>

#include <array>
#include <cstdio>

namespace {

class ByteCounter final : public dualvm::Device {
public:
    const char* name() const override { return "byte-counter"; }
    dualvm::u64 read(dualvm::u64, unsigned) override { return count_; }
    void write(dualvm::u64, unsigned size, dualvm::u64) override { count_ += size; }
    void reset() override { count_ = 0; }
    void save(dualvm::ArchiveWriter& out) const override { out.put(count_); }
    void load(dualvm::ArchiveReader& in) override { in.get(count_); }

private:
    dualvm::u64 count_ = 0;
};

// Real mode, at 0000:1000.
constexpr std::array<dualvm::u8, 8> kGuest = {
    0xba, 0x00, 0x03,  // mov dx, 300h
    0xee,              // out dx, al
    0xef,              // out dx, ax
    0xec,              // in al, dx
    0xfa,              // cli
    0xf4,              // hlt
};

}  // namespace

int main() {
    auto created = dualvm::Machine::create({.memory_mebibytes = 1});
    if (!created) {
        std::fprintf(stderr, "%s\n", created.error().text.c_str());
        return 1;
    }
    dualvm::Machine& machine = **created;
    auto& counter = machine.own(std::make_unique<ByteCounter>());
    if (!machine.vio().ports().add(0x300, 4, counter)) return 1;

    if (!machine.vmem().write(0x1000, kGuest.data(), kGuest.size())) return 1;
    dualvm::CpuFile& cpu = machine.cpu();
    cpu.segments.seg[dualvm::CS].selector = 0;
    cpu.segments.seg[dualvm::CS].base = 0;
    cpu.general.rip = 0x1000;

    const auto engine = dualvm::make_interpreter(machine);
    const dualvm::RunResult result = dualvm::run_loop(machine, *engine, {.max_instructions = 1000}, {});
    engine->pull(dualvm::Groups::General);
    const unsigned al = cpu.general.gpr[dualvm::RAX] & 0xff;
    std::printf("%s after %llu instructions; the guest read back a count of %u\n", result.reason.c_str(),
                static_cast<unsigned long long>(result.instructions.value_or(0)), al);
    return result.reason == "halted" && al == 3 ? 0 : 1;
}
