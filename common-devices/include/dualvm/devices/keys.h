// The keys of a PS/2 keyboard: their names, and the scan codes that they send (IBM PS/2 Hardware Interface Technical
// Reference, "Keyboard": scan code sets 1, 2 and 3).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::devices {

// A key is its make code in scan code set 2; E0xxh are those that came with the 101-key keyboard.
enum class Key : u16 {
    Shift = 0x12,
    ShiftRight = 0x59,
    Control = 0x14,
    Alt = 0x11,
    AltRight = 0xe011,
    ControlRight = 0xe014,
    PrintScreen = 0xe07c,
    Pause = 0xe114,
};

struct KeyName {
    const char* name;
    Key key;
};
// All of them by name, in QEMU's spelling ("ret", "f1", "kp_add") and a few that one would guess ("enter").
const std::vector<KeyName>& key_names();
std::optional<Key> key_from_name(std::string_view name);

// What to press on a US keyboard for a character of ASCII.
struct Keystroke {
    Key key;
    bool shift = false;
};
std::optional<Keystroke> keystroke_for(char character);

// Its make code in set 3, which has neither prefixes nor sequences; 0 if the key has none.
u8 set_3_code(Key key);
// What the 8042 makes of a code of set 2: one of set 1, with the low 7 bits only if it is one of a key.
u8 set_2_to_set_1(u8 code);

}  // namespace dualvm::devices
