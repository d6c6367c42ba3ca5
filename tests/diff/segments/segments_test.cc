// The interpreter, with and without its optimisations, against the host's CPU where segments matter: 16-bit code,
// limits, rights and kinds of segments, 16-bit stacks, far transfers and segment loads at ring 3. DUALVM_SEGMENTS_SEED
// and DUALVM_SEGMENTS_CASES give other cases (the seed also on CPUs whose habits are not known), DUALVM_SEGMENTS_FIRST
// the number of the first: one case alone is repeated with DUALVM_SEGMENTS_CASES=1.
#include <cpuid.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>

#include "dualvm/interp/interpreter.h"
#include "interpreter_ldt.h"
#include "judge.h"
#include "native_ldt.h"

namespace dualvm::segments {
namespace {

u64 from_environment(const char* name, u64 otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

bool host_is_amd() {
    unsigned leaf = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(0, &leaf, &b, &c, &d) != 0 && std::memcmp(&b, "Auth", 4) == 0 && std::memcmp(&d, "enti", 4) == 0;
}

// The family of CPUs that the rules of judge.cc have been tried on. Another may have habits of its own where manuals
// are silent: that is to be looked at by somebody, and no reason for a test run to fail.
bool rules_are_known() {
    unsigned signature = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &signature, &b, &c, &d) == 0) return false;
    constexpr unsigned kZen5 = 0x1a;
    const unsigned family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
    return host_is_amd() && family == kZen5;
}

TEST(Segments, TheInterpreterDoesAsTheCpu) {
    if (!rules_are_known() && std::getenv("DUALVM_SEGMENTS_SEED") == nullptr) {
        GTEST_SKIP()
            << "what this CPU does differently is not known: run test_diff_segments with DUALVM_SEGMENTS_SEED=1";
    }
    auto native = NativeLdt::create();
    if (!native) GTEST_SKIP() << "no native LDT segments here: " << native.error().text;
    const u64 seed = from_environment("DUALVM_SEGMENTS_SEED", 1), first = from_environment("DUALVM_SEGMENTS_FIRST", 0),
              cases = from_environment("DUALVM_SEGMENTS_CASES", 150'000);
    const bool amd = host_is_amd();
    const CaseMaker maker(seed);
    std::vector<std::string> all;
    for (const InterpreterOptimisation& optimisation : interpreter_optimisations()) all.emplace_back(optimisation.name);
    InterpreterLdt whole({}), plain(all);
    const auto c = std::make_unique<SegmentCase>();
    const auto expected = std::make_unique<Result>(), got = std::make_unique<Result>();
    constexpr unsigned kMostFailures = 20, kMostLost = 5;
    unsigned failures = 0, lost = 0;
    u64 made = 0, compared = 0;
    std::map<std::string, u64> reasons;
    for (u64 number = first; number < first + cases && failures < kMostFailures; ++number) {
        if (!maker.make(number, *c)) continue;
        ++made;
        (*native)->run(*c, *expected);
        plain.run(*c, *got);
        const Verdict without = judge(*c, *expected, *got, amd);
        whole.run(*c, *got);
        const Verdict verdict = judge(*c, *expected, *got, amd);
        if (verdict.not_compared != nullptr) {
            ++reasons[verdict.not_compared];
        } else {
            ++compared;
        }
        if (expected->ending == Ending::Lost && ++lost > kMostLost) break;
        if (!verdict.wrong() && !without.wrong()) continue;
        ++failures;
        ADD_FAILURE() << fmt::format(
            "DUALVM_SEGMENTS_SEED={} DUALVM_SEGMENTS_FIRST={} DUALVM_SEGMENTS_CASES=1 repeats this:\n{}{}", seed,
            number, to_text(*c),
            verdict.wrong() ? verdict.differences : "  without optimisations:\n" + without.differences);
    }
    std::cout << fmt::format("{} instructions of {} drawn, {} compared\n", made, cases, compared);
    for (const auto& [reason, count] : reasons) std::cout << fmt::format("{} not compared: {}\n", count, reason);
    EXPECT_LE(lost, kMostLost) << "the child process dies of the cases";
    if (cases >= 1000) {
        EXPECT_GT(compared, made * 95 / 100) << "the rules of judge.cc hide too much";
    }
}

}  // namespace
}  // namespace dualvm::segments
