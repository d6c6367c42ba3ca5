// Every encoding that can make a difference between instructions: prefixes, opcode maps, opcodes, ModRM.
#pragma once

#include <functional>
#include <span>

#include "dualvm/study/catalogue.h"

namespace dualvm::study {

// What an encoding turned out to be, for the walk to know how to go on.
enum class Seen : u8 { Undefined, WithoutModRm, WithModRm };

// Calls visit() with 15 bytes that begin with a candidate, zeros behind it. Legacy encodings come before VEX, XOP and
// EVEX ones, fewer prefixes before more.
void walk_encodings(CodeMode mode, const std::function<Seen(std::span<const u8>)>& visit);
// The legacy ones alone, which are a tenth of them.
void walk_legacy_encodings(CodeMode mode, const std::function<Seen(std::span<const u8>)>& visit);

}  // namespace dualvm::study
