#include "terminal_keys.h"

#include <ncurses.h>

#include <algorithm>
#include <string_view>

namespace dualvm::app {

namespace {

using devices::Key;

Key named(const char* name) { return *devices::key_from_name(name); }

struct Special {
    int code;
    const char* key;
    bool shift = false;
};
constexpr Special kSpecial[] = {
    {KEY_UP, "up"},
    {KEY_DOWN, "down"},
    {KEY_LEFT, "left"},
    {KEY_RIGHT, "right"},
    {KEY_HOME, "home"},
    {KEY_END, "end"},
    {KEY_PPAGE, "pgup"},
    {KEY_NPAGE, "pgdn"},
    {KEY_IC, "insert"},
    {KEY_DC, "delete"},
    {KEY_BACKSPACE, "backspace"},
    {KEY_ENTER, "ret"},
    {KEY_B2, "kp_5"},
    {KEY_PRINT, "print"},
    {KEY_BTAB, "tab", true},
    {KEY_SLEFT, "left", true},
    {KEY_SRIGHT, "right", true},
    {KEY_SF, "down", true},
    {KEY_SR, "up", true},
    {KEY_SHOME, "home", true},
    {KEY_SEND, "end", true},
    {KEY_SPREVIOUS, "pgup", true},
    {KEY_SNEXT, "pgdn", true},
    {KEY_SIC, "insert", true},
    {KEY_SDC, "delete", true},
};

// Terminals of xterm's kind have more, which terminfo names: "kLFT5" is Left with Control. The digit is 1 and the sum
// of 1 for Shift, 2 for Alt, 4 for Control (user_caps(5)).
struct Extended {
    std::string_view prefix;
    const char* key;
};
constexpr Extended kExtended[] = {{"kUP", "up"},     {"kDN", "down"},  {"kLFT", "left"}, {"kRIT", "right"},
                                  {"kHOM", "home"},  {"kEND", "end"},  {"kPRV", "pgup"}, {"kNXT", "pgdn"},
                                  {"kIC", "insert"}, {"kDC", "delete"}};

std::optional<KeyStep> special_key(int code) {
    KeyStep step;
    for (const Special& each : kSpecial) {
        if (each.code != code) continue;
        if (each.shift) step.keys.push_back(Key::Shift);
        step.keys.push_back(named(each.key));
        return step;
    }
    constexpr int kFunctionKeys = 12;
    if (code > KEY_F0 && code <= KEY_F(4 * kFunctionKeys)) {
        // xterm's F13 to F24 are Shift and F1 to F12, F25 to F36 Control, F37 to F48 both.
        const int number = code - KEY_F0 - 1, modifiers = number / kFunctionKeys;
        if ((modifiers & 2) != 0) step.keys.push_back(Key::Control);
        if ((modifiers & 1) != 0) step.keys.push_back(Key::Shift);
        step.keys.push_back(named(("f" + std::to_string(number % kFunctionKeys + 1)).c_str()));
        return step;
    }
    const char* name = keyname(code);
    const std::string_view text = name == nullptr ? "" : name;
    for (const Extended& each : kExtended) {
        if (text.size() != each.prefix.size() + 1 || !text.starts_with(each.prefix)) continue;
        const int modifiers = text.back() - '1';
        if (modifiers < 1 || modifiers > 7) continue;
        if ((modifiers & 4) != 0) step.keys.push_back(Key::Control);
        if ((modifiers & 2) != 0) step.keys.push_back(Key::Alt);
        if ((modifiers & 1) != 0) step.keys.push_back(Key::Shift);
        step.keys.push_back(named(each.key));
        return step;
    }
    return std::nullopt;
}

// What a terminal sends for a key of a keyboard that is not in a special place (ASCII's control characters).
std::optional<KeyStep> character_key(int code) {
    KeyStep step;
    const auto with_control = [&](const char* key) {
        step.keys = {Key::Control, named(key)};
        return step;
    };
    switch (code) {
        case 0: return with_control("spc");
        case 0x08:
        case 0x7f: step.keys = {named("backspace")}; return step;
        case 0x1c: return with_control("backslash");
        case 0x1d: return with_control("bracket_right");
        case 0x1e: return with_control("6");
        case 0x1f: return with_control("minus");
        case '\t':
        case '\r':
        case 0x1b: break;  // keys of their own
        default:
            if (code < 0x20) {
                const char letter[] = {static_cast<char>(code - 1 + 'a'), '\0'};
                return with_control(letter);
            }
    }
    if (code > 0x7f) return std::nullopt;
    const auto found = devices::keystroke_for(static_cast<char>(code));
    if (!found) return std::nullopt;
    if (found->shift) step.keys.push_back(Key::Shift);
    step.keys.push_back(found->key);
    return step;
}

}  // namespace

std::optional<KeyStep> terminal_key(int code, bool special, bool alt) {
    auto step = special ? special_key(code) : character_key(code);
    if (step && alt) step->keys.insert(step->keys.begin(), Key::Alt);
    return step;
}

}  // namespace dualvm::app
