// A case as JSON. What is as usual is left out: registers and memory that are zero, x87 and vector registers as FNINIT
// and reset leave them. Numbers are texts in hexadecimal, memory and vector registers are bytes in the order in which
// they lie in memory.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "dualvm/study/fuzz.h"
#include "explain.h"

namespace dualvm::study {

namespace {

using Json = nlohmann::ordered_json;

const FpuGroup kUsual{.fcw = 0x37f, .ftw = 0};

std::string hex(u64 value) { return fmt::format("{:#x}", value); }
std::string hex(std::span<const u8> bytes) { return fmt::format("{:02x}", fmt::join(bytes, "")); }

// --- writing ---------------------------------------------------------------------------------------------------------

Json registers_json(const Case& c) {
    Json json = {{"rflags", hex(c.rflags)}};
    for (unsigned i = 0; i < 16; ++i) {
        if (c.gpr[i] != 0) json[register_name(CpuMode::Long64, i)] = hex(c.gpr[i]);
    }
    return json;
}

Json fpu_json(const FpuGroup& f) {
    Json json = Json::object();
    const auto word = [&](const char* name, u64 value, u64 usual) {
        if (value != usual) json[name] = hex(value);
    };
    word("fcw", f.fcw, kUsual.fcw);
    word("fsw", f.fsw, kUsual.fsw);
    word("ftw", f.ftw, kUsual.ftw);
    word("fop", f.fop, kUsual.fop);
    word("fip", f.fip, kUsual.fip);
    word("fdp", f.fdp, kUsual.fdp);
    word("mxcsr", f.mxcsr, kUsual.mxcsr);
    for (unsigned i = 0; i < 8; ++i) {
        if (f.st[i] == X87Register{}) continue;
        json[fmt::format("r{}", i)] = fmt::format("{:04x}:{:016x}", f.st[i].sign_exponent, f.st[i].significand);
    }
    for (unsigned i = 0; i < 16; ++i) {
        const auto bytes = std::span(f.vector[i].bytes).first(16);
        if (std::any_of(bytes.begin(), bytes.end(), [](u8 b) { return b != 0; })) {
            json[fmt::format("xmm{}", i)] = hex(bytes);
        }
    }
    return json;
}

// Lines of 16 bytes that are not all zero, by their address.
Json memory_json(const Window& window) {
    constexpr std::size_t kLine = 16;
    Json json = Json::object();
    for (std::size_t at = 0; at < window.size(); at += kLine) {
        const auto line = std::span(window).subspan(at, kLine);
        if (std::any_of(line.begin(), line.end(), [](u8 b) { return b != 0; })) {
            json[hex(ring3::kWindow + at)] = hex(line);
        }
    }
    return json;
}

// --- reading: files are written by people, too -----------------------------------------------------------------------

struct Malformed {
    std::string what;
};

u64 number(const std::string& text, int base = 16) {
    const std::string_view digits = text.starts_with("0x") ? std::string_view(text).substr(2) : std::string_view(text);
    u64 value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (error != std::errc() || end != digits.data() + digits.size()) throw Malformed{"'" + text + "' is no number"};
    return value;
}

std::vector<u8> bytes(const std::string& text, std::size_t most) {
    std::vector<u8> result;
    if (text.size() % 2 != 0) throw Malformed{"'" + text + "' are no whole bytes"};
    for (std::size_t at = 0; at < text.size(); at += 2) result.push_back(static_cast<u8>(number(text.substr(at, 2))));
    if (result.size() > most) throw Malformed{fmt::format("'{}' are more than {} bytes", text, most)};
    return result;
}

// The number behind `prefix` in a name like "xmm12".
std::optional<std::size_t> indexed(const std::string& name, std::string_view prefix, std::size_t count) {
    if (!name.starts_with(prefix) || name.size() == prefix.size()) return std::nullopt;
    const std::string digits = name.substr(prefix.size());
    if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
    const u64 index = number(digits, 10);
    if (index >= count) throw Malformed{"there is no register " + name};
    return index;
}

void read_registers(const Json& json, Case& c) {
    for (const auto& [name, value] : json.items()) {
        const u64 bits = number(value.get<std::string>());
        if (name == "rflags") {
            c.rflags = (bits & ring3::kFreeFlags) | rflags::Fixed1 | rflags::IF;
            continue;
        }
        unsigned i = 0;
        while (i < 16 && name != register_name(CpuMode::Long64, i)) ++i;
        if (i == 16) throw Malformed{"there is no register " + name};
        c.gpr[i] = bits;
    }
}

void read_fpu(const Json& json, FpuGroup& f) {
    constexpr u32 kMxcsrBits = 0xffff;
    for (const auto& [name, value] : json.items()) {
        const auto text = value.get<std::string>();
        if (const auto i = indexed(name, "xmm", 16)) {
            const auto vector = bytes(text, 16);
            std::copy(vector.begin(), vector.end(), f.vector[*i].bytes.begin());
        } else if (const auto r = indexed(name, "r", 8)) {
            const auto colon = text.find(':');
            if (colon == std::string::npos) throw Malformed{"'" + text + "' is no exponent:significand"};
            f.st[*r].sign_exponent = static_cast<u16>(number(text.substr(0, colon)));
            f.st[*r].significand = number(text.substr(colon + 1));
        } else if (name == "fip") {
            f.fip = number(text);
        } else if (name == "fdp") {
            f.fdp = number(text);
        } else if (name == "mxcsr") {
            f.mxcsr = static_cast<u32>(number(text)) & kMxcsrBits;
        } else if (name == "ftw") {
            f.ftw = static_cast<u8>(number(text));
        } else if (name == "fcw" || name == "fsw" || name == "fop") {
            (name == "fcw" ? f.fcw : name == "fsw" ? f.fsw : f.fop) = static_cast<u16>(number(text));
        } else {
            throw Malformed{"there is no register " + name};
        }
    }
}

void read_memory(const Json& json, Window& window) {
    for (const auto& [address, value] : json.items()) {
        const auto line = bytes(value.get<std::string>(), window.size());
        const u64 at = number(address) - ring3::kWindow;
        if (at > window.size() || line.size() > window.size() - at) throw Malformed{address + " is not in the window"};
        std::copy(line.begin(), line.end(), window.begin() + static_cast<std::ptrdiff_t>(at));
    }
}

Case read_case(const Json& json) {
    Case c;
    c.fpu = kUsual;
    const auto mode = json.at("mode").get<unsigned>();
    if (mode != 64 && mode != 32) throw Malformed{"the mode is neither 64 nor 32"};
    c.mode = mode == 64 ? CpuMode::Long64 : CpuMode::Compatibility32;
    c.code = bytes(json.at("code").get<std::string>(), ring3::kCodeBytes);
    if (c.code.empty()) throw Malformed{"there is no code"};
    if (json.contains("code_offset")) c.code_offset = number(json["code_offset"].get<std::string>());
    if (c.code_offset > ring3::kCodeBytes - c.code.size()) throw Malformed{"the code is not within its page"};
    if (json.contains("registers")) read_registers(json["registers"], c);
    if (json.contains("fpu")) read_fpu(json["fpu"], c.fpu);
    if (json.contains("memory")) read_memory(json["memory"], c.window);
    return c;
}

}  // namespace

std::string case_to_json(const CpuModel& model, const Case& c, const std::string& about) {
    Json json = {{"about", about},
                 {"mode", c.long_mode() ? 64 : 32},
                 {"listing", listing(Analyser(model).analyse(c), c)},
                 {"code", hex(std::span(c.code))}};
    if (c.code_offset != 0) json["code_offset"] = hex(c.code_offset);
    json["registers"] = registers_json(c);
    if (Json fpu = fpu_json(c.fpu); !fpu.empty()) json["fpu"] = std::move(fpu);
    if (Json memory = memory_json(c.window); !memory.empty()) json["memory"] = std::move(memory);
    return json.dump(2) + '\n';
}

Expected<Case> case_from_json(const std::string& text) {
    try {
        return read_case(Json::parse(text));
    } catch (const Malformed& malformed) {
        return fail(ExitStatus::BadImage, "not a case: " + malformed.what);
    } catch (const nlohmann::json::exception& error) {
        return fail(ExitStatus::BadImage, std::string("not a case: ") + error.what());
    }
}

}  // namespace dualvm::study
