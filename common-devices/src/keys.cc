#include "dualvm/devices/keys.h"

#include <algorithm>
#include <array>

namespace dualvm::devices {

namespace {

constexpr u16 kExtended = 0xe000;

// Set 3 where it is not set 2's code.
struct Row {
    const char* name;
    u16 set_2;
    u8 set_3;
};

// Names first as in QEMU's `sendkey` (QKeyCode), rows in the order of the keys on the keyboard.
constexpr Row kKeys[] = {
    {"esc", 0x76, 0x08},
    {"f1", 0x05, 0x07},
    {"f2", 0x06, 0x0f},
    {"f3", 0x04, 0x17},
    {"f4", 0x0c, 0x1f},
    {"f5", 0x03, 0x27},
    {"f6", 0x0b, 0x2f},
    {"f7", 0x83, 0x37},
    {"f8", 0x0a, 0x3f},
    {"f9", 0x01, 0x47},
    {"f10", 0x09, 0x4f},
    {"f11", 0x78, 0x56},
    {"f12", 0x07, 0x5e},
    {"print", kExtended | 0x7c, 0x57},
    {"scroll_lock", 0x7e, 0x5f},
    {"pause", 0xe114, 0x62},
    {"grave_accent", 0x0e, 0x0e},
    {"1", 0x16, 0x16},
    {"2", 0x1e, 0x1e},
    {"3", 0x26, 0x26},
    {"4", 0x25, 0x25},
    {"5", 0x2e, 0x2e},
    {"6", 0x36, 0x36},
    {"7", 0x3d, 0x3d},
    {"8", 0x3e, 0x3e},
    {"9", 0x46, 0x46},
    {"0", 0x45, 0x45},
    {"minus", 0x4e, 0x4e},
    {"equal", 0x55, 0x55},
    {"backspace", 0x66, 0x66},
    {"tab", 0x0d, 0x0d},
    {"q", 0x15, 0x15},
    {"w", 0x1d, 0x1d},
    {"e", 0x24, 0x24},
    {"r", 0x2d, 0x2d},
    {"t", 0x2c, 0x2c},
    {"y", 0x35, 0x35},
    {"u", 0x3c, 0x3c},
    {"i", 0x43, 0x43},
    {"o", 0x44, 0x44},
    {"p", 0x4d, 0x4d},
    {"bracket_left", 0x54, 0x54},
    {"bracket_right", 0x5b, 0x5b},
    {"backslash", 0x5d, 0x5c},
    {"caps_lock", 0x58, 0x14},
    {"a", 0x1c, 0x1c},
    {"s", 0x1b, 0x1b},
    {"d", 0x23, 0x23},
    {"f", 0x2b, 0x2b},
    {"g", 0x34, 0x34},
    {"h", 0x33, 0x33},
    {"j", 0x3b, 0x3b},
    {"k", 0x42, 0x42},
    {"l", 0x4b, 0x4b},
    {"semicolon", 0x4c, 0x4c},
    {"apostrophe", 0x52, 0x52},
    {"ret", 0x5a, 0x5a},
    {"shift", 0x12, 0x12},
    {"less", 0x61, 0x13},
    {"z", 0x1a, 0x1a},
    {"x", 0x22, 0x22},
    {"c", 0x21, 0x21},
    {"v", 0x2a, 0x2a},
    {"b", 0x32, 0x32},
    {"n", 0x31, 0x31},
    {"m", 0x3a, 0x3a},
    {"comma", 0x41, 0x41},
    {"dot", 0x49, 0x49},
    {"slash", 0x4a, 0x4a},
    {"shift_r", 0x59, 0x59},
    {"ctrl", 0x14, 0x11},
    {"meta_l", kExtended | 0x1f, 0x8b},
    {"alt", 0x11, 0x19},
    {"spc", 0x29, 0x29},
    {"alt_r", kExtended | 0x11, 0x39},
    {"meta_r", kExtended | 0x27, 0x8c},
    {"menu", kExtended | 0x2f, 0x8d},
    {"ctrl_r", kExtended | 0x14, 0x58},
    {"insert", kExtended | 0x70, 0x67},
    {"home", kExtended | 0x6c, 0x6e},
    {"pgup", kExtended | 0x7d, 0x6f},
    {"delete", kExtended | 0x71, 0x64},
    {"end", kExtended | 0x69, 0x65},
    {"pgdn", kExtended | 0x7a, 0x6d},
    {"up", kExtended | 0x75, 0x63},
    {"left", kExtended | 0x6b, 0x61},
    {"down", kExtended | 0x72, 0x60},
    {"right", kExtended | 0x74, 0x6a},
    {"num_lock", 0x77, 0x76},
    {"kp_divide", kExtended | 0x4a, 0x77},
    {"kp_multiply", 0x7c, 0x7e},
    {"kp_subtract", 0x7b, 0x84},
    {"kp_7", 0x6c, 0x6c},
    {"kp_8", 0x75, 0x75},
    {"kp_9", 0x7d, 0x7d},
    {"kp_add", 0x79, 0x7c},
    {"kp_4", 0x6b, 0x6b},
    {"kp_5", 0x73, 0x73},
    {"kp_6", 0x74, 0x74},
    {"kp_1", 0x69, 0x69},
    {"kp_2", 0x72, 0x72},
    {"kp_3", 0x7a, 0x7a},
    {"kp_enter", kExtended | 0x5a, 0x79},
    {"kp_0", 0x70, 0x70},
    {"kp_decimal", 0x71, 0x71},
};

constexpr std::pair<const char*, const char*> kOtherNames[] = {
    {"enter", "ret"},     {"return", "ret"},     {"escape", "esc"},           {"space", "spc"},
    {"bs", "backspace"},  {"del", "delete"},     {"ins", "insert"},           {"pageup", "pgup"},
    {"pagedown", "pgdn"}, {"caps", "caps_lock"}, {"asterisk", "kp_multiply"}, {"sysrq", "print"},
    {"control", "ctrl"},  {"win", "meta_l"},
};

// Characters that are not letters or digits, with the key's name; what the key gives with shift comes second.
struct Symbol {
    char plain, shifted;
    const char* key;
};
constexpr Symbol kSymbols[] = {
    {'`', '~', "grave_accent"},
    {'1', '!', "1"},
    {'2', '@', "2"},
    {'3', '#', "3"},
    {'4', '$', "4"},
    {'5', '%', "5"},
    {'6', '^', "6"},
    {'7', '&', "7"},
    {'8', '*', "8"},
    {'9', '(', "9"},
    {'0', ')', "0"},
    {'-', '_', "minus"},
    {'=', '+', "equal"},
    {'[', '{', "bracket_left"},
    {']', '}', "bracket_right"},
    {'\\', '|', "backslash"},
    {';', ':', "semicolon"},
    {'\'', '"', "apostrophe"},
    {',', '<', "comma"},
    {'.', '>', "dot"},
    {'/', '?', "slash"},
    {' ', ' ', "spc"},
    {'\t', '\t', "tab"},
    {'\r', '\r', "ret"},
    {'\n', '\n', "ret"},
    {'\b', '\b', "backspace"},
    {'\x1b', '\x1b', "esc"},
};

// The 8042's translation ("Keyboard scan code translation" in the reference above): what is at place n is made of n.
constexpr std::array<u8, 0x80> kSet1 = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,  //
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,  //
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,  //
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,  //
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,  //
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,  //
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,  //
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

}  // namespace

const std::vector<KeyName>& key_names() {
    static const std::vector<KeyName> kNames = [] {
        std::vector<KeyName> names;
        for (const Row& row : kKeys) names.push_back({row.name, static_cast<Key>(row.set_2)});
        for (const auto& [other, name] : kOtherNames) {
            const auto same = std::find_if(names.begin(), names.end(),
                                           [n = std::string_view(name)](const KeyName& k) { return k.name == n; });
            names.push_back({other, same->key});
        }
        return names;
    }();
    return kNames;
}

std::optional<Key> key_from_name(std::string_view name) {
    for (const KeyName& each : key_names()) {
        if (each.name == name) return each.key;
    }
    return std::nullopt;
}

std::optional<Keystroke> keystroke_for(char character) {
    const bool capital = character >= 'A' && character <= 'Z';
    if (capital || (character >= 'a' && character <= 'z')) {
        const char letter = capital ? static_cast<char>(character - 'A' + 'a') : character;
        return Keystroke{*key_from_name({&letter, 1}), capital};
    }
    for (const Symbol& symbol : kSymbols) {
        if (character == symbol.plain) return Keystroke{*key_from_name(symbol.key), false};
        if (character == symbol.shifted) return Keystroke{*key_from_name(symbol.key), true};
    }
    return std::nullopt;
}

u8 set_3_code(Key key) {
    for (const Row& row : kKeys) {
        if (row.set_2 == static_cast<u16>(key)) return row.set_3;
    }
    return 0;
}

u8 set_2_to_set_1(u8 code) {
    constexpr u8 kF7 = 0x83, kAltPrintScreen = 0x84;  // the two keys beyond the table
    if (code < kSet1.size()) return kSet1[code];
    if (code == kF7) return 0x41;
    if (code == kAltPrintScreen) return 0x54;
    return code;
}

}  // namespace dualvm::devices
