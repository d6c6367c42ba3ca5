#include "live_screen.h"

#include <curses.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <cwchar>

#include "interruption.h"
#include "messages.h"
#include "terminal.h"
#include "terminal_keys.h"
#include "terminal_type.h"

// Macros of curses' that are names of ours.
#undef move
#undef timeout

namespace dualvm::app {

namespace {

constexpr Nanoseconds kFrame = 33'000'000;  // of the host's time
constexpr std::size_t kSerialLines = 1000, kSerialColumns = 500;
constexpr std::size_t kMostKeysAhead = 500;
constexpr int kPrefix = 1;  // Ctrl-A
constexpr const char* kHelp = "Ctrl-A x leaves, s serial port or screen, d Ctrl-Alt-Del, Ctrl-A Ctrl-A, h help";

Nanoseconds host_time() {
    return static_cast<Nanoseconds>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

// VGA counts blue, green, red; terminals red, green, blue.
constexpr std::array<short, 8> kColors = {COLOR_BLACK, COLOR_BLUE,    COLOR_GREEN,  COLOR_CYAN,
                                          COLOR_RED,   COLOR_MAGENTA, COLOR_YELLOW, COLOR_WHITE};

bool sixteen_colors() { return COLORS >= 16 && COLOR_PAIRS > 256; }

// Terminals with 16 colours have a pair for each attribute; with 8, bright ones are bold.
void make_colors() {
    if (!has_colors()) return;
    start_color();
    const int count = sixteen_colors() ? 16 : 8;
    const auto color = [](int number) { return static_cast<short>(kColors[number & 7] + (number & 8)); };
    for (int back = 0; back < count; ++back) {
        for (int front = 0; front < count; ++front) {
            const int pair = 1 + back * count + front;
            if (pair < COLOR_PAIRS) init_pair(static_cast<short>(pair), color(front), color(back));
        }
    }
}

// How a cell looks; the pair is curses' affair from 256 on, so it comes beside.
struct Look {
    attr_t attributes = A_NORMAL;
    short pair = 0;
};
Look look_of(u8 attribute, bool blinks) {
    Look look;
    int front = attribute & 0xf, back = attribute >> 4;
    if (blinks && (back & 8) != 0) look.attributes |= A_BLINK;
    if (blinks) back &= 7;
    if (!has_colors()) {
        if ((front & 8) != 0) look.attributes |= A_BOLD;
        if ((back & 7) != 0) look.attributes |= A_REVERSE;
        return look;
    }
    if (sixteen_colors()) {
        look.pair = static_cast<short>(1 + back * 16 + front);
        return look;
    }
    if ((front & 8) != 0) look.attributes |= A_BOLD;
    look.pair = static_cast<short>(1 + (back & 7) * 8 + (front & 7));
    return look;
}

wchar_t wide(u8 character, bool utf8) {
    if (!utf8) return character >= ' ' && character < 0x7f ? static_cast<wchar_t>(character) : L'?';
    const std::string bytes = devices::from_code_page_437(character == 0 ? u8{' '} : character);
    wchar_t result = L'?';
    std::mbstate_t state{};
    std::mbrtowc(&result, bytes.data(), bytes.size(), &state);
    return result;
}

}  // namespace

Expected<std::unique_ptr<LiveScreen>> LiveScreen::open(Machine& machine, devices::Pc& pc) {
    // Characters only: numbers stay as they are written in C.
    std::setlocale(LC_CTYPE, "");
    if (std::strcmp(std::setlocale(LC_CTYPE, nullptr), "C") == 0) std::setlocale(LC_CTYPE, "C.UTF-8");
    if (newterm(nullptr, stdout, stdin) == nullptr) {
        return fail(ExitStatus::BadImage, "cannot show the guest's screen: this terminal is not known (TERM)");
    }
    return std::unique_ptr<LiveScreen>(new LiveScreen(machine, pc));
}

LiveScreen::LiveScreen(Machine& machine, devices::Pc& pc) : pc_(pc), player_(machine.clock(), pc) {
    eight_bit_ = std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    ::raw();
    noecho();
    nonl();
    keypad(stdscr, true);
    nodelay(stdscr, true);
    set_escdelay(25);
    make_colors();
    // What endwin() would write, for a signal's handler that may not call it.
    set_terminal_farewell(leaving_sequence());
    keep_standard_error();
    draw();
}

LiveScreen::~LiveScreen() {
    set_terminal_farewell("");
    endwin();
    give_back_standard_error();
}

void LiveScreen::keep_standard_error() {
    if (isatty(STDERR_FILENO) == 0) return;
    std::FILE* file = std::tmpfile();
    if (file == nullptr) return;  // then it goes over the screen
    kept_ = dup(fileno(file));
    std::fclose(file);
    standard_error_ = dup(STDERR_FILENO);
    dup2(kept_, STDERR_FILENO);
    set_crash_output(standard_error_);
}

void LiveScreen::give_back_standard_error() {
    if (kept_ < 0) return;
    set_crash_output(-1);
    dup2(standard_error_, STDERR_FILENO);
    close(standard_error_);
    lseek(kept_, 0, SEEK_SET);
    std::array<char, 4096> bytes;
    for (ssize_t n = 0; (n = read(kept_, bytes.data(), bytes.size())) > 0;) {
        write_all(STDERR_FILENO, {bytes.data(), static_cast<std::size_t>(n)});
    }
    close(kept_);
}

// --- the serial port -----------------------------------------------------------------------------------------------

void LiveScreen::serial_output(u8 byte) {
    if (serial_view_) dirty_ = true;
    // Escape sequences (ECMA-48, 5.4): ESC [, parameters, a final byte; or ESC and one more.
    if (escape_ != 0) {
        escape_ = escape_ == 1 && byte == '[' ? 2 : escape_ == 2 && byte < 0x40 ? 2 : 0;
        return;
    }
    std::string& line = serial_.back();
    switch (byte) {
        case 0x1b: escape_ = 1; return;
        case '\r': serial_column_ = 0; return;
        case '\b': serial_column_ -= serial_column_ > 0 ? 1 : 0; return;
        case '\n':
            serial_.emplace_back();
            serial_column_ = 0;
            if (serial_.size() > kSerialLines) serial_.pop_front();
            return;
        case '\t': serial_column_ = std::min((serial_column_ | 7) + 1, kSerialColumns); return;
        default: break;
    }
    if (byte < ' ' || serial_column_ >= kSerialColumns) return;
    if (line.size() <= serial_column_) line.resize(serial_column_ + 1, ' ');
    line[serial_column_++] = static_cast<char>(byte);
}

// --- keys ----------------------------------------------------------------------------------------------------------

void LiveScreen::wait(Nanoseconds up_to) {
    const timespec timeout{static_cast<time_t>(up_to / 1'000'000'000), static_cast<long>(up_to % 1'000'000'000)};
    pollfd in{STDIN_FILENO, POLLIN, 0};
    ppoll(&in, may_read_terminal() ? 1 : 0, &timeout, nullptr);
}

void LiveScreen::poll() {
    if (terminal_was_retaken()) {
        endwin();  // for refresh() to take it from the beginning
        clearok(curscr, true);
        dirty_ = true;
    }
    read_keys();
    if (const Nanoseconds now = host_time(); now >= next_frame_) {
        next_frame_ = now + kFrame;
        draw();
    }
}

void LiveScreen::read_keys() {
    while (may_read_terminal() && !end_) {
        wint_t code = 0;
        const int kind = get_wch(&code);
        if (kind == ERR) return;
        if (kind == KEY_CODE_YES && code == KEY_RESIZE) {
            resized();
        } else {
            key(static_cast<int>(code), kind == KEY_CODE_YES);
        }
    }
}

void LiveScreen::key(int code, bool special) {
    if (!message_.empty()) {
        message_.clear();
        dirty_ = true;
    }
    if (prefix_) {
        prefix_ = false;
        command(special ? 0 : code);
        return;
    }
    if (!special && code == kPrefix) {
        prefix_ = true;
        return;
    }
    if (serial_view_) {
        const u8 byte[] = {static_cast<u8>(special && code == KEY_BACKSPACE ? 0x7f : code)};
        if ((!special && code < 0x80) || code == KEY_BACKSPACE) pc_.serial_input(byte);
        return;
    }
    // Terminals send Alt as an Escape before the key.
    if (!special && code == 0x1b) {
        wint_t next = 0;
        const int kind = get_wch(&next);
        if (kind == ERR) {
            if (auto step = terminal_key(code, false, false)) press(*step);
            return;
        }
        if (kind == KEY_CODE_YES && next == KEY_RESIZE) return resized();
        if (kind != KEY_CODE_YES && next == kPrefix) {  // no Alt: two keys that came together
            if (auto step = terminal_key(code, false, false)) press(*step);
            prefix_ = true;
            return;
        }
        if (auto step = terminal_key(static_cast<int>(next), kind == KEY_CODE_YES, true)) press(*step);
        return;
    }
    if (auto step = terminal_key(code, special, false)) press(*step);
}

void LiveScreen::command(int code) {
    switch (code) {
        case 'x':
        case 'X':
            end_ = ConsoleEnd{ExitStatus::Limit, "interrupted", "left with Ctrl-A x"};
            interrupt_run();
            break;
        case 's':
        case 'S':
            serial_view_ = !serial_view_;
            resized();
            break;
        case 'd':
        case 'D': press({.keys = {devices::Key::Control, devices::Key::Alt, *devices::key_from_name("delete")}}); break;
        case 'h':
        case 'H':
        case '?':
            message_ = kHelp;
            dirty_ = true;
            break;
        case kPrefix: {
            const u8 byte[] = {kPrefix};
            if (serial_view_) {
                pc_.serial_input(byte);
            } else if (auto step = terminal_key(kPrefix, false, false)) {
                press(*step);
            }
            break;
        }
        default: break;
    }
}

void LiveScreen::press(const KeyStep& step) {
    if (player_.waiting() < kMostKeysAhead) {
        player_.add({step});
    } else {
        beep();
    }
}

// --- drawing -------------------------------------------------------------------------------------------------------

void LiveScreen::resized() {
    erase();
    dirty_ = true;
}

void LiveScreen::draw() {
    if (serial_view_) {
        if (!std::exchange(dirty_, false)) return;
        draw_serial();
    } else {
        devices::Screen screen = pc_.vga().screen();
        const bool same = screen.kind == shown_.kind && screen.cells == shown_.cells &&
                          screen.cursor == shown_.cursor && screen.columns == shown_.columns &&
                          screen.blinks == shown_.blinks && screen.width == shown_.width &&
                          screen.height == shown_.height;
        if (same && !dirty_) return;
        dirty_ = false;
        if (screen.columns != shown_.columns || screen.rows != shown_.rows || screen.kind != shown_.kind) erase();
        draw_text(screen);
        shown_ = std::move(screen);
    }
    refresh();
}

// The part of the guest's screen that fits, with the cursor in it.
void LiveScreen::draw_text(const devices::Screen& screen) {
    using Kind = devices::Screen::Kind;
    if (screen.kind != Kind::Text) {
        curs_set(0);
        draw_line(screen.kind == Kind::Graphics
                      ? fmt::format("The guest shows graphics, {} x {}, which a terminal cannot: --screen=text or png "
                                    "shows the last picture. Ctrl-A h helps.",
                                    screen.width, screen.height)
                      : "The guest's screen is off. Ctrl-A h helps.");
        return;
    }
    const unsigned lines = static_cast<unsigned>(std::max(LINES, 1)), width = static_cast<unsigned>(std::max(COLS, 1));
    const auto scrolled = [](unsigned at, unsigned have, unsigned all) {
        return have >= all || at < have ? 0 : at - have + 1;
    };
    const unsigned top = scrolled(screen.cursor.row, lines, screen.rows);
    const unsigned left = scrolled(screen.cursor.column, width, screen.columns);
    for (unsigned y = 0; y < std::min(lines, screen.rows - top); ++y) {
        for (unsigned x = 0; x < std::min(width, screen.columns - left); ++x) {
            const devices::Screen::Cell& cell = screen.at(top + y, left + x);
            const Look look = look_of(cell.attribute, screen.blinks);
            const wchar_t text[] = {wide(cell.character, !eight_bit_), L'\0'};
            cchar_t character;
            setcchar(&character, text, look.attributes, look.pair, nullptr);
            mvadd_wch(static_cast<int>(y), static_cast<int>(x), &character);
        }
    }
    if (!message_.empty()) {
        draw_line(message_);
    } else if (lines > screen.rows) {
        draw_line("Ctrl-A x leaves, Ctrl-A h helps");
    }
    curs_set(screen.cursor.visible ? 1 : 0);
    if (screen.cursor.visible) {
        wmove(stdscr, static_cast<int>(screen.cursor.row - top), static_cast<int>(screen.cursor.column - left));
    }
}

void LiveScreen::draw_serial() {
    erase();
    const std::size_t lines = static_cast<std::size_t>(std::max(LINES - 1, 1));
    const std::size_t first = serial_.size() > lines ? serial_.size() - lines : 0;
    for (std::size_t i = first; i < serial_.size(); ++i) {
        mvaddnstr(static_cast<int>(i - first), 0, serial_[i].c_str(), COLS);
    }
    draw_line(message_.empty() ? "The guest's serial port; Ctrl-A s shows its screen" : message_);
    curs_set(1);
    wmove(stdscr, static_cast<int>(serial_.size() - 1 - first),
          static_cast<int>(std::min<std::size_t>(serial_column_, static_cast<std::size_t>(std::max(COLS - 1, 0)))));
}

// On the terminal's last line.
void LiveScreen::draw_line(const std::string& text) {
    attrset(A_REVERSE);
    mvaddnstr(LINES - 1, 0, text.c_str(), std::max(COLS - 1, 0));
    attrset(A_NORMAL);
    clrtoeol();
}

}  // namespace dualvm::app
