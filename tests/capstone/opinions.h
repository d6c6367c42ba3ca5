// What Zydis and what Capstone take bytes for, and who is right where they disagree.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::capstone {

struct Opinion {
    std::string mnemonic = "(bad)";
    unsigned length = 0;
    bool operator==(const Opinion&) const = default;
};

// Which disagreements a ruling decides.
enum class About : u8 {
    Names,            // those with these two mnemonics
    Lock,             // LOCK before something that may not have it
    BlankEntry,       // 66, F2 or F3 select an entry of the 0F maps that is blank
    SixteenBits,      // 66, F2 or F3 select an entry of the 0F maps in 16-bit code
    SeveralPrefixes,  // more than one, same length
    NearBranch,       // 66 before a near branch in 64-bit mode
    PrefixedCall,     // CALL with several prefixes: how many bytes its displacement has
    PrefixBetween,    // another prefix between 66, F2 or F3 and the opcode of the 0F maps that it selects
};

// A disagreement that the manual has decided. All were decided for Zydis so far.
struct Ruling {
    About about;
    unsigned mode;            // 16, 32 or 64: of the example
    std::vector<u8> example;  // the case that was kept
    const char* zydis;        // what the two say of it; "*": whatever
    const char* capstone;
    const char* decided_by;  // section of the Intel SDM, and what it says there
};
const std::vector<Ruling>& rulings();

class Opinions {
public:
    Opinions();
    ~Opinions();

    Opinion zydis(unsigned mode, std::span<const u8> bytes) const;
    // With the names that Zydis has for what Capstone calls otherwise.
    Opinion capstone(unsigned mode, std::span<const u8> bytes) const;

    // Do the bytes begin with VEX, EVEX, XOP, or a 3DNow! or PadLock opcode? The CPU model has none of those, and to
    // the interpreter they are undefined before anybody asks which.
    static bool is_beyond_the_model(unsigned mode, std::span<const u8> bytes);

    // Does Zydis know them as an instruction of an extension that the CPU model does not have?
    bool is_newer(unsigned mode, std::span<const u8> bytes) const;

    // The ruling for a disagreement about `bytes`; nullptr if there is none yet.
    static const Ruling* ruling(unsigned mode, std::span<const u8> bytes, const Opinion& zydis,
                                const Opinion& capstone);

private:
    struct Libraries;
    std::unique_ptr<Libraries> libraries_;
};

}  // namespace dualvm::capstone
