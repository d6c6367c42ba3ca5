#include "dualvm/devices/screen.h"

#include <array>

namespace dualvm::devices {

std::string Screen::text() const {
    std::string text;
    std::string pending;  // line ends and blanks that count only if something follows
    for (unsigned row = 0; row < rows; ++row) {
        for (unsigned column = 0; column < columns; ++column) {
            const u8 c = at(row, column).character;
            if (c == ' ' || c == 0) {
                pending += ' ';
                continue;
            }
            text += pending + from_code_page_437(c);
            pending.clear();
        }
        pending.erase(pending.find_last_not_of(' ') + 1);
        pending += '\n';
    }
    return text.empty() ? text : text + '\n';
}

std::string from_code_page_437(u8 character) {
    // 00h-1Fh and 7Fh-FFh as Unicode code points; the rest is ASCII.
    static constexpr std::array<char16_t, 32> kLow = {u' ', u'☺', u'☻', u'♥', u'♦', u'♣', u'♠', u'•', u'◘', u'○', u'◙',
                                                      u'♂', u'♀', u'♪', u'♫', u'☼', u'►', u'◄', u'↕', u'‼', u'¶', u'§',
                                                      u'▬', u'↨', u'↑', u'↓', u'→', u'←', u'∟', u'↔', u'▲', u'▼'};
    static constexpr std::array<char16_t, 129> kHigh = {
        u'⌂', u'Ç', u'ü', u'é', u'â', u'ä', u'à', u'å', u'ç', u'ê',     u'ë', u'è', u'ï', u'î', u'ì', u'Ä', u'Å',
        u'É', u'æ', u'Æ', u'ô', u'ö', u'ò', u'û', u'ù', u'ÿ', u'Ö',     u'Ü', u'¢', u'£', u'¥', u'₧', u'ƒ', u'á',
        u'í', u'ó', u'ú', u'ñ', u'Ñ', u'ª', u'º', u'¿', u'⌐', u'¬',     u'½', u'¼', u'¡', u'«', u'»', u'░', u'▒',
        u'▓', u'│', u'┤', u'╡', u'╢', u'╖', u'╕', u'╣', u'║', u'╗',     u'╝', u'╜', u'╛', u'┐', u'└', u'┴', u'┬',
        u'├', u'─', u'┼', u'╞', u'╟', u'╚', u'╔', u'╩', u'╦', u'╠',     u'═', u'╬', u'╧', u'╨', u'╤', u'╥', u'╙',
        u'╘', u'╒', u'╓', u'╫', u'╪', u'┘', u'┌', u'█', u'▄', u'▌',     u'▐', u'▀', u'α', u'ß', u'Γ', u'π', u'Σ',
        u'σ', u'µ', u'τ', u'Φ', u'Θ', u'Ω', u'δ', u'∞', u'φ', u'ε',     u'∩', u'≡', u'±', u'≥', u'≤', u'⌠', u'⌡',
        u'÷', u'≈', u'°', u'∙', u'·', u'√', u'ⁿ', u'²', u'■', u'\u00a0'};
    const unsigned code = character < 32 ? kLow[character] : character >= 0x7f ? kHigh[character - 0x7fu] : character;
    std::string utf8;
    if (code < 0x80) {
        utf8 += static_cast<char>(code);
    } else if (code < 0x800) {
        utf8 += static_cast<char>(0xc0 | code >> 6);
        utf8 += static_cast<char>(0x80 | (code & 0x3f));
    } else {
        utf8 += static_cast<char>(0xe0 | code >> 12);
        utf8 += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
        utf8 += static_cast<char>(0x80 | (code & 0x3f));
    }
    return utf8;
}

}  // namespace dualvm::devices
