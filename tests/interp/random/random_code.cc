// Random bytes as code, in every mode and ring: no crash, no hang, no difference between the interpreter's fast and its
// readable form.
//
//     random_code [INSTRUCTIONS [SEED]]
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "dualvm/study/disassembler.h"
#include "life.h"

namespace {

using namespace dualvm;
using namespace dualvm::scene;

// A life that is all decoding takes ten seconds, and ten times as long under a sanitizer.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
constexpr bool kSanitized = false;
#endif
constexpr unsigned kHangSeconds = kSanitized ? 600 : 60;
constexpr unsigned kMostInstructionBits = 22;  // of the number of a life's instructions
u64 current_seed = 0;

extern "C" void hanging(int) {
    // Only what a signal handler may call.
    static char text[] =
        "random_code: a life of at most a few million instructions does not end: seed "
        "                    \n";
    char* digit = text + sizeof text - 2;
    for (u64 seed = current_seed; seed != 0; seed /= 10) *--digit = static_cast<char>('0' + seed % 10);
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    abort();
}

class Chance {
public:
    explicit Chance(u64 seed) : random_(seed) {}
    u64 number() { return random_(); }
    u64 below(u64 bound) { return random_() % bound; }
    bool one_in(u64 n) { return below(n) == 0; }

    // Numbers as they matter: anything, something small, a place in the data, one at the edge of it.
    u64 register_value() {
        switch (below(4)) {
            case 0: return number();
            case 1: return number() >> below(64);
            case 2: return kData + below(kDataBytes);
            default: return below(kDataBytes);
        }
    }

private:
    std::mt19937_64 random_;
};

std::vector<u8> bytes(Chance& chance, std::size_t size) {
    std::vector<u8> all(size);
    for (u8& byte : all) byte = static_cast<u8>(chance.number() >> 24);
    return all;
}

Life make_life(u64 seed) {
    Chance chance(seed);
    Life life;
    life.scene = chance.below(all_scenes().size());
    life.cpu = first_state(all_scenes()[life.scene]);
    GeneralGroup& general = life.cpu.general;
    for (unsigned i = 0; i < 16; ++i) {
        if (i != RSP) general.gpr[i] = chance.register_value();
    }
    general.rflags |= chance.number() & (rflags::Arithmetic | rflags::DF);
    if (chance.one_in(8)) general.rflags |= chance.number() & (rflags::TF | rflags::AC | rflags::NT | rflags::IOPL);
    if (chance.one_in(8)) life.cpu.control.cr0 |= cr0::AM;
    if (chance.one_in(16)) life.cpu.control.cr0 |= cr0::TS;
    for (auto& vector : life.cpu.fpu.vector) {
        for (unsigned i = 0; i < 16; ++i) vector.bytes[i] = static_cast<u8>(chance.number());
    }
    life.code = bytes(chance, kCodeBytes);
    life.data = bytes(chance, kDataBytes);
    // Not at the start only: at the end of a page, or of what is mapped, too.
    general.rip += chance.one_in(4) ? kCodeBytes - 1 - chance.below(20) : chance.below(kCodeBytes);
    // Short ones are many and see much code; long ones loop, write to their code and come back to it.
    life.instructions = 1 + (chance.number() >> (64 - kMostInstructionBits + chance.below(kMostInstructionBits)));
    return life;
}

// The shortest life with this seed that goes wrong, and its last instructions.
void explain(Lives& lives, Life life) {
    // What goes wrong stays wrong, nearly always: halves, then, not one instruction more each time.
    u64 good = 0, bad = life.instructions;
    while (bad - good > 1) {
        life.instructions = good + (bad - good) / 2;
        (lives.live(life).empty() ? good : bad) = life.instructions;
    }
    life.instructions = bad;
    const std::string wrong = lives.live(life);
    std::printf("%llu instructions are enough:\n%s", static_cast<unsigned long long>(life.instructions), wrong.c_str());
    const u64 last = life.instructions;
    const study::Disassembler disassembler;
    for (u64 n = last < 12 ? 0 : last - 12; n < last; ++n) {
        life.instructions = n;
        if (n != 0) (void)lives.live(life);
        const CpuFile& cpu = n == 0 ? life.cpu : lives.plain_cpu();
        std::array<u8, 15> code{};
        (void)lives.memory().read(cpu.code_base() + cpu.general.rip, code.data(), code.size());
        std::printf("%s\n", study::to_text(disassembler.line(cpu.mode(), cpu.general.rip, code)).c_str());
    }
}

}  // namespace

int main(int argc, char** argv) {
    const u64 wanted = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : 1'000'000;
    current_seed = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 1;
    signal(SIGALRM, hanging);
    Lives lives;
    u64 count = 0;
    for (; lives.instructions() < wanted; ++current_seed, ++count) {
        alarm(kHangSeconds);
        const Life life = make_life(current_seed);
        const std::string wrong = lives.live(life);
        if (!wrong.empty()) {
            std::printf("seed %llu: %s, %llu instructions from %llx\n%s", static_cast<unsigned long long>(current_seed),
                        to_text(all_scenes()[life.scene]).c_str(), static_cast<unsigned long long>(life.instructions),
                        static_cast<unsigned long long>(life.cpu.general.rip), wrong.c_str());
            explain(lives, life);
            return 1;
        }
    }
    std::printf("%llu lives, %llu instructions\n", static_cast<unsigned long long>(count),
                static_cast<unsigned long long>(lives.instructions()));
    return 0;
}
