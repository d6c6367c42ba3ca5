// Condition codes of Jcc, SETcc and CMOVcc by mnemonic, and handlers for each of the sixteen.
#pragma once

#include "../block.h"

namespace dualvm::interp::fast {

// The condition code 0-15 in the order of the opcodes, or -1 if the mnemonic is no such instruction.
int jump_condition(u16 mnemonic);
int set_condition(u16 mnemonic);
int cmov_condition(u16 mnemonic);

template <class Family, class T, unsigned... kConditions>
inline Handler by_condition_of(unsigned code, std::integer_sequence<unsigned, kConditions...>) {
    static constexpr std::array<Handler, sizeof...(kConditions)> table = {&Family::template run<kConditions, T>...};
    return table[code];
}

// Family::run<kCondition, T>, for a condition code known only now.
template <class Family, class T>
inline Handler by_condition(unsigned code) {
    return by_condition_of<Family, T>(code, std::make_integer_sequence<unsigned, 16>{});
}

}  // namespace dualvm::interp::fast
