#include "values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

namespace dualvm::app {

namespace {

constexpr u64 kLargest = std::numeric_limits<u64>::max();

struct Digits {
    u64 value = 0;
    std::string_view rest;
    bool any = false, too_large = false;
};

Digits digits(std::string_view text, int base) {
    Digits d;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), d.value, base);
    d.any = end != text.data();
    d.too_large = error == std::errc::result_out_of_range;
    if (d.too_large) d.value = kLargest;
    d.rest = text.substr(static_cast<std::size_t>(end - text.data()));
    return d;
}

}  // namespace

Parsed<u64> parse_memory_size(std::string_view text) {
    const Digits d = digits(text, 10);
    const auto wrong = [&] {
        return tl::unexpected(fmt::format("'{}' is not an amount of memory: 384, 512M and 1G are", text));
    };
    if (!d.any || d.rest.size() > 1) return wrong();
    unsigned shift = 0;
    switch (d.rest.empty() ? 'M' : d.rest[0]) {
        case 'M':
        case 'm': break;
        case 'G':
        case 'g': shift = 10; break;
        case 'T':
        case 't': shift = 20; break;
        case 'K':
        case 'k': return d.value / 1024;
        default: return wrong();
    }
    return d.value > kLargest >> shift ? kLargest : d.value << shift;
}

Parsed<u64> parse_disk_size(std::string_view text) {
    const auto wrong = [&] {
        return tl::unexpected(fmt::format("'{}' is not a size: 512, 10M, 4G and 1.5T are", text));
    };
    const Digits d = digits(text, 10);
    if (!d.any || d.too_large) return wrong();
    std::string_view rest = d.rest;
    double fraction = 0;
    if (rest.starts_with('.')) {
        const auto [end, error] =
            std::from_chars(rest.data(), rest.data() + rest.size(), fraction, std::chars_format::fixed);
        if (error != std::errc{}) return wrong();
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    }
    constexpr std::string_view kUnits = "bkmgtpe";
    const std::size_t unit =
        rest.empty() ? 0 : kUnits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(rest[0]))));
    if (rest.size() > 1 || unit == std::string_view::npos || (fraction != 0 && unit == 0)) return wrong();
    const unsigned shift = static_cast<unsigned>(unit) * 10;
    if (d.value > kLargest >> shift >> 1) return tl::unexpected(fmt::format("{} is more than a disk can have", text));
    return (d.value << shift) + static_cast<u64>(fraction * static_cast<double>(u64{1} << shift));
}

Parsed<u64> parse_number(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    const Digits d = hexadecimal ? digits(text.substr(2), 16) : digits(text, 10);
    if (!d.any || !d.rest.empty()) {
        return tl::unexpected(fmt::format("'{}' is not a number: 1000 and 0x3e8 are", text));
    }
    if (d.too_large) return tl::unexpected(fmt::format("{} is too large: the largest number is {}", text, kLargest));
    return d.value;
}

Parsed<Nanoseconds> parse_seconds(std::string_view text) {
    double seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc{} || end != text.data() + text.size() || !(seconds > 0) || !std::isfinite(seconds)) {
        return tl::unexpected(
            fmt::format("'{}' is not a time: a number of seconds more than 0 is, like 10 or 0.5", text));
    }
    constexpr double kCentury = 100.0 * 365 * 24 * 3600;  // longer ones do not fit, and nobody waits for them
    return static_cast<Nanoseconds>(std::max(1.0, std::min(seconds, kCentury) * 1e9));
}

namespace {

Parsed<std::string> boot_letters(std::string_view text) {
    const auto wrong = [&](std::string_view why) {
        return tl::unexpected(
            fmt::format("'{}' is not a boot order: {}; letters are a (floppy disk), c (hard disk), d "
                        "(CD-ROM) and n (network)",
                        text, why));
    };
    if (text.empty()) return wrong("it has no letter");
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (std::string_view("acdn").find(text[i]) == std::string_view::npos) {
            return wrong(fmt::format("there is no drive '{}'", text[i]));
        }
        if (text.find(text[i], i + 1) != std::string_view::npos)
            return wrong(fmt::format("'{}' is there twice", text[i]));
    }
    return std::string(text);
}

}  // namespace

Parsed<BootOrder> parse_boot_order(std::string_view text) {
    BootOrder result;
    // As QEMU: the first may come without its name.
    if (const std::string_view first = text.substr(0, text.find(',')); first.find('=') == std::string_view::npos) {
        auto letters = boot_letters(first);
        if (!letters) return tl::unexpected(letters.error());
        result.order = *letters;
        text.remove_prefix(std::min(first.size() + 1, text.size()));
    }
    while (!text.empty()) {
        const std::string_view part = text.substr(0, text.find(','));
        text.remove_prefix(std::min(part.size() + 1, text.size()));
        const std::size_t equals = std::min(part.find('='), part.size());
        const std::string_view key = part.substr(0, equals), value = part.substr(std::min(equals + 1, part.size()));
        if (key == "order" || key == "once") {
            auto letters = boot_letters(value);
            if (!letters) return tl::unexpected(letters.error());
            (key == "order" ? result.order : result.once) = *letters;
        } else if (key == "menu") {
            if (value != "on" && value != "off") return tl::unexpected(fmt::format("menu={} is not on or off", value));
            result.menu = value == "on";
        } else {
            return tl::unexpected(fmt::format("'{}' is not one of order=, once= and menu=", part));
        }
    }
    return result;
}

std::vector<std::string> comma_separated(std::string_view list) {
    std::vector<std::string> found;
    for (std::size_t at = 0; at <= list.size();) {
        const std::size_t end = std::min(list.find(',', at), list.size());
        found.emplace_back(list.substr(at, end - at));
        at = end + 1;
    }
    return found;
}

Parsed<std::vector<u8>> parse_hex_bytes(std::string_view text) {
    const auto wrong = [given = text] {
        return tl::unexpected(
            fmt::format("'{}' is not a list of bytes: \"0f a2\", 0fa2 and \"0x0f, 0xa2\" are", given));
    };
    std::vector<u8> bytes;
    while (true) {
        const auto begin = text.find_first_not_of(" ,\t\n");
        if (begin == std::string_view::npos) break;
        text.remove_prefix(begin);
        std::string_view word = text.substr(0, text.find_first_of(" ,\t\n"));
        text.remove_prefix(word.size());
        if (word.starts_with("0x") || word.starts_with("0X")) word.remove_prefix(2);
        if (word.size() % 2 != 0) return wrong();
        for (; !word.empty(); word.remove_prefix(2)) {
            const Digits d = digits(word.substr(0, 2), 16);
            if (!d.any || !d.rest.empty()) return wrong();
            bytes.push_back(static_cast<u8>(d.value));
        }
    }
    if (bytes.empty()) return wrong();
    return bytes;
}

namespace {

// Levenshtein's distance: how many letters have to be put in, taken out or changed.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
        }
    }
    return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
    std::string best;
    if (word.size() < 2) return best;  // every other letter is as near
    std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t d = distance(word, candidate);
        if (d < best_distance) {
            best_distance = d;
            best = candidate;
        }
    }
    return best;
}

}  // namespace dualvm::app
