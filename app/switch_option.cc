#include "switch_option.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::app {

namespace {

using study::SwitchCondition;
using Kind = SwitchCondition::Kind;

constexpr const char* kConditions =
    "insn:N, rip:ADDRESS, cr3, cr3:VALUE, ring:0, ring:3, program, kernel, port:PORT, time:10ms (s, ms, us)";

// "10ms": nanoseconds.
Parsed<u64> parse_duration(std::string_view text) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const std::string_view unit = text.substr(digits);
    const u64 scale = unit == "s" ? 1'000'000'000 : unit == "ms" ? 1'000'000 : unit == "us" ? 1'000 : 0;
    const auto number = parse_number(text.substr(0, digits));
    if (scale == 0 || !number || *number == 0 || *number > kNever / scale) {
        return tl::unexpected(fmt::format("'{}' is not a time: 2s, 10ms and 500us are", text));
    }
    return *number * scale;
}

Parsed<SwitchCondition> parse_condition(std::string_view text) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::string_view name = text.substr(0, colon);
    const bool has_value = colon != text.size();
    const std::string_view value = has_value ? text.substr(colon + 1) : "";
    const auto wrong = [&](std::string_view why) {
        return tl::unexpected(fmt::format("'{}': {}; a condition is one of {}", text, why, kConditions));
    };
    struct Named {
        std::string_view name;
        Kind kind;
        u64 smallest, largest;
    };
    constexpr Named kNamed[] = {{"insn", Kind::Instructions, 1, kUnlimited},
                                {"rip", Kind::Rip, 0, kUnlimited},
                                {"cr3", Kind::Cr3, 0, kUnlimited},
                                {"ring", Kind::Ring, 0, 3},
                                {"program", Kind::Program, 0, 0},
                                {"kernel", Kind::Kernel, 0, 0},
                                {"port", Kind::Port, 0, 0xffff},
                                {"time", Kind::Time, 1, kUnlimited}};
    const auto* named =
        std::find_if(std::begin(kNamed), std::end(kNamed), [&](const Named& n) { return n.name == name; });
    if (named == std::end(kNamed)) return wrong(fmt::format("'{}' is no condition", name));
    SwitchCondition condition{.kind = named->kind};
    const bool wants_none = named->kind == Kind::Program || named->kind == Kind::Kernel;
    if (wants_none && has_value) return wrong(fmt::format("{} takes no value", name));
    if (wants_none || (named->kind == Kind::Cr3 && !has_value)) return condition;
    if (!has_value) return wrong(fmt::format("{} needs a value", name));
    const auto number = named->kind == Kind::Time ? parse_duration(value) : parse_number(value);
    if (!number) return wrong(number.error());
    if (*number < named->smallest || *number > named->largest || (named->kind == Kind::Ring && *number % 3 != 0)) {
        return wrong(fmt::format("{} cannot be {}", name, value));
    }
    condition.value = *number;
    return condition;
}

}  // namespace

Parsed<void> add_switch(study::SwitchPlan& plan, std::string_view text) {
    if (plan.repeat) return tl::unexpected(fmt::format("'{}' comes behind repeat, which is the last", text));
    if (text == "repeat") {
        plan.repeat = true;
        return {};
    }
    constexpr std::string_view kTo = ",to=";
    const std::size_t at = text.rfind(kTo);
    const std::string_view to = at == std::string_view::npos ? "" : text.substr(at + kTo.size());
    if (to != "interp" && to != "kvm") {
        return tl::unexpected(fmt::format(
            "'{}' does not end in ',to=interp' or ',to=kvm'; a switch is CONDITION,to=ENGINE or 'repeat'", text));
    }
    auto condition = parse_condition(text.substr(0, at));
    if (!condition) return tl::unexpected(condition.error());
    plan.rules.push_back({*condition, std::string(to)});
    return {};
}

std::string what_is_wrong_with(const study::SwitchPlan& plan) {
    return plan.repeat && plan.rules.empty() ? "--switch=repeat needs another --switch before it: what to repeat" : "";
}

}  // namespace dualvm::app
