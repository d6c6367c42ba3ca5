#include "key_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "dualvm/devices/ps2_mouse.h"

namespace dualvm::app {

namespace {

using devices::Key;
using Kind = KeyStep::Kind;

constexpr u64 kMostTimes = 1000;
constexpr std::size_t kMostSteps = 200'000;  // half an hour at the usual pace
constexpr int kFarthest = 10000;
constexpr std::size_t kLargestFile = 1 << 20;

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return result;
}

// Two lines: where in the script it is, and a mark below the place.
std::string show(std::string_view text, std::size_t begin, std::size_t end) {
    constexpr std::size_t kBefore = 30, kShown = 70;
    const std::size_t newline = begin == 0 ? std::string_view::npos : text.rfind('\n', begin - 1);
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    const std::size_t from = std::max(line, begin > kBefore ? begin - kBefore : 0);
    std::string shown(text.substr(from, std::min(kShown, text.find('\n', begin) - from)));
    std::replace_if(
        shown.begin(), shown.end(), [](unsigned char c) { return c < ' '; }, ' ');
    const std::size_t marks = std::clamp<std::size_t>(end - begin, 1, kShown);
    return fmt::format("\n    {}\n    {}{}", shown, std::string(begin - from, ' '), std::string(marks, '^'));
}

class ScriptParser {
public:
    ScriptParser(std::string_view text, bool comments) : text_(text), comments_(comments) {}

    Parsed<KeyScript> parse() {
        while (at_ < text_.size() && error_.empty()) {
            const bool line_begins = at_ == 0 || text_[at_ - 1] == '\n';
            if (comments_ && line_begins && text_[at_] == '#') {
                at_ = std::min(text_.find('\n', at_), text_.size());
            } else if (text_[at_] == '\n' || text_[at_] == '\r') {
                ++at_;  // lines are for the reader
            } else if (text_.substr(at_).starts_with("<<")) {
                character('<', 2);
            } else if (text_[at_] == '<') {
                bracket();
            } else {
                character(text_[at_], 1);
            }
        }
        if (!error_.empty()) return tl::unexpected(error_);
        return script_;
    }

private:
    void wrong(std::size_t begin, std::size_t end, std::string_view what) {
        if (error_.empty()) {
            const auto line = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(begin), '\n') + 1;
            const std::string place = comments_ ? fmt::format("line {}", line) : fmt::format("character {}", begin + 1);
            error_ = fmt::format("{}: {}{}", place, what, show(text_, begin, end));
        }
    }

    static void stroke(const devices::Keystroke& stroke, std::vector<Key>& keys) {
        if (stroke.shift && std::find(keys.begin(), keys.end(), Key::Shift) == keys.end()) keys.push_back(Key::Shift);
        keys.push_back(stroke.key);
    }

    void character(char c, std::size_t size) {
        KeyStep step{.source = std::string(text_.substr(at_, size))};
        if (script_.size() >= kMostSteps) {
            wrong(at_, at_ + size, fmt::format("the script has more than {} keys", kMostSteps));
        } else if (const auto found = devices::keystroke_for(c)) {
            stroke(*found, step.keys);
            script_.push_back(std::move(step));
        } else {
            wrong(at_, at_ + size, "no key of a US keyboard gives this character");
        }
        at_ += size;
    }

    // From < to >. A backslash before > or another backslash takes its meaning away.
    void bracket() {
        const std::size_t begin = at_++;
        std::string inside;
        while (at_ < text_.size() && text_[at_] != '>') {
            if (text_[at_] == '\\' && at_ + 1 < text_.size() && (text_[at_ + 1] == '>' || text_[at_ + 1] == '\\'))
                ++at_;
            inside += text_[at_++];
        }
        if (at_ == text_.size()) {
            wrong(begin, text_.size(), "this < has no >; << types the character <");
            return;
        }
        ++at_;
        KeyStep step{.source = std::string(text_.substr(begin, at_ - begin))};
        const std::size_t colon = inside.find(':');
        std::string what;
        if (colon != std::string::npos && colon != 0) {
            what = action(lower(inside.substr(0, colon)), inside.substr(colon + 1), step);
        } else if (lower(inside) == "click") {
            what = action("click", "left", step);
        } else {
            what = keys(inside, step);
            return what.empty() ? void() : wrong(begin, at_, what);
        }
        if (!what.empty()) wrong(begin, at_, what);
        script_.push_back(std::move(step));
    }

    // Each of these says what is wrong; nothing if nothing is.
    std::string keys(const std::string& text, KeyStep& step) {
        std::string_view names = text;
        u64 times = 1;
        if (const std::size_t star = text.rfind('*');
            star != std::string::npos && star + 1 < text.size() && star != 0) {
            const auto number = parse_number(names.substr(star + 1));
            if (!number || *number == 0 || *number > kMostTimes) {
                return fmt::format("'{}' is not a number of times from 1 to {}", names.substr(star + 1), kMostTimes);
            }
            times = *number;
            names = names.substr(0, star);
        }
        while (true) {
            // A dash alone, or at the end, is the key.
            const std::size_t dash = names.find('-', 1);
            const std::string_view name = dash + 1 < names.size() ? names.substr(0, dash) : names;
            if (std::string what = key(name, step.keys); !what.empty()) return what;
            if (name.size() == names.size()) break;
            names.remove_prefix(name.size() + 1);
        }
        if (script_.size() + times > kMostSteps) return fmt::format("the script has more than {} keys", kMostSteps);
        script_.insert(script_.end(), times, step);
        return {};
    }

    static std::string key(std::string_view name, std::vector<Key>& keys) {
        if (name.empty()) return "a key's name is missing";
        if (name.size() == 1) {
            if (const auto found = devices::keystroke_for(name[0])) {
                stroke(*found, keys);
                return {};
            }
        }
        if (const auto found = devices::key_from_name(lower(name))) {
            keys.push_back(*found);
            return {};
        }
        std::vector<std::string> known;
        for (const devices::KeyName& each : devices::key_names()) known.emplace_back(each.name);
        const std::string near = nearest(lower(name), known);
        return fmt::format("there is no key '{}'{}; << types the character <", name,
                           near.empty() ? "" : fmt::format(", did you mean '{}'?", near));
    }

    static std::string action(const std::string& name, const std::string& value, KeyStep& step) {
        if (name == "wait" || name == "pace") {
            step.kind = name == "wait" ? Kind::Wait : Kind::Pace;
            return duration(value, step.time);
        }
        if (name == "screen" || name == "prompt") {
            step.kind = name == "screen" ? Kind::Screen : Kind::Prompt;
            step.text = value;
            return value.empty() ? fmt::format("<{}:> needs a text", name) : "";
        }
        if (name == "move") {
            step.kind = Kind::Move;
            const std::size_t comma = std::min(value.find(','), value.size());
            return number(std::string_view(value).substr(0, comma), step.right) &&
                           number(std::string_view(value).substr(std::min(comma + 1, value.size())), step.up)
                       ? ""
                       : fmt::format("'{0}' is not two numbers from -{1} to {1}, like 10,-5: right, up", value,
                                     kFarthest);
        }
        if (name == "click") {
            step.kind = Kind::Click;
            using Mouse = devices::Ps2Mouse;
            if (value == "left") step.button = Mouse::kLeft;
            if (value == "right") step.button = Mouse::kRight;
            if (value == "middle") step.button = Mouse::kMiddle;
            return step.button != 0 ? "" : fmt::format("'{}' is not one of left, right or middle", value);
        }
        return fmt::format("'{}:' is not one of wait:, pace:, screen:, prompt:, move: or click:", name);
    }

    static std::string duration(const std::string& text, Nanoseconds& time) {
        const bool milliseconds = text.ends_with("ms");
        const std::size_t unit = milliseconds ? 2 : 1;
        if (text.size() > unit && text.back() == 's') {
            if (const auto seconds = parse_seconds(std::string_view(text).substr(0, text.size() - unit))) {
                time = milliseconds ? *seconds / 1000 : *seconds;
                return {};
            }
        }
        return fmt::format("'{}' is not a time: 2s, 0.5s and 500ms are", text);
    }

    static bool number(std::string_view text, int& value) {
        if (text.starts_with('+')) text.remove_prefix(1);
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        return error == std::errc{} && end == text.data() + text.size() && value >= -kFarthest && value <= kFarthest;
    }

    std::string_view text_;
    bool comments_;
    std::size_t at_ = 0;
    KeyScript script_;
    std::string error_;
};

}  // namespace

Expected<KeyScript> load_key_script(const std::string& option) {
    std::string text = option, place;
    const bool in_file = option.starts_with('@');
    if (in_file) {
        const std::string path = option.substr(1);
        const auto cannot = [&](const char* why) {
            return fail(ExitStatus::BadImage, fmt::format("cannot read the keys in {}: {}", path, why));
        };
        std::error_code error;
        if (std::filesystem::is_directory(path, error)) return cannot("it is a folder");
        std::ifstream in(path, std::ios::binary);
        if (!in) return cannot(std::strerror(errno));
        text.resize(kLargestFile + 1);
        in.read(text.data(), static_cast<std::streamsize>(text.size()));
        if (in.bad()) return cannot(std::strerror(errno));
        text.resize(static_cast<std::size_t>(in.gcount()));
        if (text.size() > kLargestFile) return cannot("it is larger than a MiB");
        place = path + ", ";
    }
    auto script = ScriptParser(text, in_file).parse();
    if (script) return *script;
    return fail(ExitStatus::Usage, fmt::format("run: --sendkeys: {}{}", place, script.error()));
}

}  // namespace dualvm::app
