#include "key_player.h"

#include <fmt/format.h>

namespace dualvm::app {

namespace {

using Kind = KeyStep::Kind;

constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kUsualPace = 10 * kMillisecond;
constexpr Nanoseconds kLookAtKeyboard = kMillisecond;
constexpr Nanoseconds kLookAtScreen = 20 * kMillisecond;
// A guest that has sent the keyboard a command within this time is still setting it up: what is pressed then is lost.
constexpr Nanoseconds kQuiet = 10 * kMillisecond;

std::string row_text(const devices::Screen& screen, unsigned row, unsigned columns) {
    std::string text;
    for (unsigned column = 0; column < columns; ++column) {
        text += devices::from_code_page_437(screen.at(row, column).character);
    }
    return text;
}

}  // namespace

KeyPlayer::KeyPlayer(Clock& clock, devices::Pc& pc)
    : clock_(clock), pc_(pc), timer_(clock, [this] { go_on(); }), pace_(kUsualPace), quiet_since_(clock.now()) {}

void KeyPlayer::add(const KeyScript& script) {
    const bool idle = done();
    steps_.insert(steps_.end(), script.begin(), script.end());
    if (idle && !done()) go_on_in(0);
}

void KeyPlayer::look_again_in(Nanoseconds time) {
    timer_.watch_only(true);
    timer_.arm(clock_.now() + time);
}

void KeyPlayer::go_on_in(Nanoseconds time) {
    timer_.watch_only(false);
    timer_.arm(clock_.now() + time);
}

void KeyPlayer::next_step(Nanoseconds after) {
    down_ = false;
    steps_.pop_front();
    if (!done()) go_on_in(after);
}

bool KeyPlayer::guest_is_ready() {
    devices::I8042& controller = pc_.keyboard_controller();
    if (const u64 commands = controller.keyboard().received(); commands != commands_) {
        commands_ = commands;
        quiet_since_ = clock_.now();
    }
    return controller.keys_welcome() && clock_.now() - quiet_since_ >= kQuiet;
}

bool KeyPlayer::on_screen(const KeyStep& step) const {
    const devices::Screen screen = pc_.vga().screen();
    if (screen.kind != devices::Screen::Kind::Text) return false;
    if (step.kind == Kind::Prompt) {
        return screen.cursor.visible && row_text(screen, screen.cursor.row, screen.cursor.column).ends_with(step.text);
    }
    for (unsigned row = 0; row < screen.rows; ++row) {
        if (row_text(screen, row, screen.columns).find(step.text) != std::string::npos) return true;
    }
    return false;
}

void KeyPlayer::go_on() {
    const KeyStep& step = steps_.front();
    devices::I8042& controller = pc_.keyboard_controller();
    switch (step.kind) {
        case Kind::Keys:
            if (!down_) {
                if (!guest_is_ready()) return look_again_in(kLookAtKeyboard);
                for (devices::Key key : step.keys) controller.keyboard().press(key);
                down_ = true;
                return go_on_in(pace_ / 2);
            }
            // Let go once the guest knows that they were pressed, or it has stopped listening.
            if (controller.keyboard().scanning() && controller.keyboard().has_data()) {
                return look_again_in(kLookAtKeyboard);
            }
            for (auto key = step.keys.rbegin(); key != step.keys.rend(); ++key) controller.keyboard().release(*key);
            return next_step(pace_ / 2);
        case Kind::Wait:
            if (std::exchange(down_, true)) return next_step(0);
            return go_on_in(step.time);
        case Kind::Pace: pace_ = step.time; return next_step(0);
        case Kind::Screen:
        case Kind::Prompt:
            if (!on_screen(step)) return look_again_in(kLookAtScreen);
            return next_step(0);
        case Kind::Move:
        case Kind::Click:
            if (down_) {
                controller.mouse().set_buttons(0);
                return next_step(pace_ / 2);
            }
            if (!controller.mouse().reporting()) return look_again_in(kLookAtKeyboard);
            if (step.kind == Kind::Move) {
                controller.mouse().move(step.right, step.up);
                return next_step(pace_);
            }
            controller.mouse().set_buttons(step.button);
            down_ = true;
            return go_on_in(pace_ / 2);
    }
}

std::string KeyPlayer::what_is_left() const {
    const bool last_key_is_down = down_ && steps_.size() == 1 && steps_.front().kind == Kind::Keys;
    if (done() || last_key_is_down) return {};
    std::string rest;
    constexpr std::size_t kShown = 40;
    for (const KeyStep& step : steps_) {
        if (rest.size() >= kShown) {
            rest += "...";
            break;
        }
        rest += step.source;
    }
    const KeyStep& step = steps_.front();
    const char* why = "";
    switch (step.kind) {
        case Kind::Keys: why = down_ ? "" : "; the guest took no key"; break;
        case Kind::Screen:
        case Kind::Prompt: why = "; this text was not on the screen"; break;
        case Kind::Move:
        case Kind::Click: why = "; the guest did not ask for a mouse's movements"; break;
        case Kind::Wait:
        case Kind::Pace: break;
    }
    return fmt::format("the run ended before all of it was done; left: {}{}", rest, why);
}

}  // namespace dualvm::app
