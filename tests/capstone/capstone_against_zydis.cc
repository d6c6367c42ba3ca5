// Random bytes to Zydis and to Capstone: the same instruction of the same length, or a disagreement that the manual has
// decided (rulings.cc).
//
//     capstone_against_zydis [COUNT [SEED]]       COUNT in each of the three modes
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "opinions.h"

namespace {

using namespace dualvm;
using namespace dualvm::capstone;

// The cases that were kept: both say what they said when the ruling was made, and the ruling is found.
bool rulings_still_hold(const Opinions& opinions) {
    bool hold = true;
    for (const Ruling& r : rulings()) {
        std::vector<u8> bytes = r.example;
        bytes.resize(15);
        const Opinion z = opinions.zydis(r.mode, bytes), c = opinions.capstone(r.mode, bytes);
        const bool capstone_says_so = r.capstone == c.mnemonic || r.capstone == std::string("*");
        const Ruling* found = Opinions::ruling(r.mode, bytes, z, c);
        if (z != c && z.mnemonic == r.zydis && capstone_says_so && found == &r) continue;
        std::printf("the case of \"%s\" is another now: Zydis %s, Capstone %s, decided by \"%s\"\n", r.decided_by,
                    z.mnemonic.c_str(), c.mnemonic.c_str(), found == nullptr ? "nothing" : found->decided_by);
        hold = false;
    }
    return hold;
}

}  // namespace

int main(int argc, char** argv) {
    const u64 count = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : 100'000;
    std::mt19937_64 random(argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 1);
    const Opinions opinions;
    if (!rulings_still_hold(opinions)) return 1;
    std::map<std::string, std::pair<u64, std::string>> undecided;  // what -> how often, an example
    u64 compared = 0, decided = 0;
    for (unsigned mode : {16u, 32u, 64u}) {
        for (u64 i = 0; i < count; ++i) {
            std::array<u8, 15> bytes{};
            for (u8& byte : bytes) byte = static_cast<u8>(random() >> 20);
            // Half of them from the two-byte maps, some of those with a prefix.
            static constexpr u8 kPrefixes[] = {0x66, 0xf2, 0xf3, 0x48};
            const u64 choice = random();
            if (choice % 2 == 0) {
                const bool prefixed = choice % 4 == 0;
                if (prefixed) bytes[0] = kPrefixes[choice / 4 % 4];
                bytes[prefixed ? 1 : 0] = 0x0f;
            }
            if (Opinions::is_beyond_the_model(mode, bytes) || opinions.is_newer(mode, bytes)) continue;
            ++compared;
            const Opinion z = opinions.zydis(mode, bytes), c = opinions.capstone(mode, bytes);
            if (z == c) continue;
            if (Opinions::ruling(mode, bytes, z, c) != nullptr) {
                ++decided;
                continue;
            }
            auto& [times, example] = undecided[std::to_string(mode) + " bits: Zydis " + z.mnemonic + ", Capstone " +
                                               c.mnemonic + (z.length != c.length ? ", other length" : "")];
            if (times++ != 0) continue;
            for (u8 byte : bytes) {
                char text[4];
                std::snprintf(text, sizeof text, "%02x ", byte);
                example += text;
            }
            example += "(" + std::to_string(z.length) + " and " + std::to_string(c.length) + " bytes)";
        }
    }
    for (const auto& [what, found] : undecided)
        std::printf("%6llu x %s: %s\n", static_cast<unsigned long long>(found.first), what.c_str(),
                    found.second.c_str());
    std::printf("%llu compared, %llu disagreements decided by the manual, %zu kinds undecided\n",
                static_cast<unsigned long long>(compared), static_cast<unsigned long long>(decided), undecided.size());
    return undecided.empty() ? 0 : 1;
}
