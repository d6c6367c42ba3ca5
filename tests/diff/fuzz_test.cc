// What `dualvm fuzz` promises, in small: the same cases every time, the regressions that are kept, both kinds of
// oracle.
#include "dualvm/study/fuzz.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "runners.h"

namespace dualvm::study {
namespace {

FuzzSubjects against_native() {
    return {[] { return native(); }, {[] { return interpreter(); }}};
}

TEST(Fuzz, TheSameSeedMakesTheSameCases) {
    if (auto oracle = native(); !oracle) GTEST_SKIP() << oracle.error().text;
    FuzzOptions options;
    options.cases = 300;
    options.only = {"add", "fadd", "addps"};
    options.jobs = 1;
    const auto once = fuzz(CpuModel::standard(), options, against_native());
    options.jobs = 2;
    const auto again = fuzz(CpuModel::standard(), options, against_native());
    options.seed = 2;
    const auto other = fuzz(CpuModel::standard(), options, against_native());
    ASSERT_TRUE(once && again && other);
    EXPECT_EQ(once->coverage, again->coverage);
    EXPECT_NE(once->coverage, other->coverage);
    EXPECT_EQ(once->different, 0u);
}
TEST(Fuzz, OnlyWhatWasAskedForIsGenerated) {
    if (auto oracle = native(); !oracle) GTEST_SKIP() << oracle.error().text;
    FuzzOptions options;
    options.cases = 300;
    options.only = {"popcnt"};
    const auto report = fuzz(CpuModel::standard(), options, against_native());
    ASSERT_TRUE(report);
    EXPECT_GE(report->cases, 290u);
    for (const auto& [key, count] : report->coverage) EXPECT_NE(key.find("/popcnt/"), std::string::npos) << key;
}
TEST(Fuzz, AMnemonicThatIsNoneIsAUsageError) {
    FuzzOptions options;
    options.only = {"nonsense"};
    if (auto oracle = native(); !oracle) GTEST_SKIP() << oracle.error().text;
    const auto report = fuzz(CpuModel::standard(), options, against_native());
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().status, ExitStatus::Usage);
}
TEST(Fuzz, AnOracleThatIsNotThereIsAnError) {
    FuzzSubjects subjects = against_native();
    subjects.oracle = []() -> MadeRunner { return fail(ExitStatus::EngineUnavailable, "none here"); };
    const auto report = fuzz(CpuModel::standard(), {}, subjects);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().status, ExitStatus::EngineUnavailable);
}

// --- what was found once
// ----------------------------------------------------------------------------------------------

struct Kept {
    std::string name;
    Case c;
};

std::vector<Kept> regressions() {
    std::vector<Kept> all;
    for (const auto& entry : std::filesystem::directory_iterator(DUALVM_REGRESSIONS)) {
        std::stringstream text;
        text << std::ifstream(entry.path()).rdbuf();
        auto c = case_from_json(text.str());
        EXPECT_TRUE(c) << entry.path() << ": " << c.error().text;
        if (c) all.push_back({entry.path().filename(), std::move(*c)});
    }
    return all;
}

void expect_all_equal(Runner& oracle) {
    const auto fast = interpreter(), reference = interpreter({"fast"});
    ASSERT_TRUE(fast && reference);
    unsigned compared = 0;
    for (const Kept& kept : regressions()) {
        if (!oracle.can_run(kept.c.mode)) continue;
        for (Runner* tested : {fast->get(), reference->get()}) {
            const auto explanation = replay(CpuModel::standard(), kept.c, oracle, *tested);
            if (!explanation) continue;  // this oracle has nothing to say about it
            ++compared;
            EXPECT_EQ(*explanation, "") << kept.name;
        }
    }
    EXPECT_GT(compared, 0u);
}

TEST(Regressions, AgreeWithTheHostsCpu) {
    auto oracle = native();
    if (!oracle) GTEST_SKIP() << oracle.error().text;
    expect_all_equal(**oracle);
}
TEST(Regressions, AgreeWithKvm) {
    auto oracle = kvm();
    if (!oracle) GTEST_SKIP() << oracle.error().text;
    if (!(*oracle)->can_run(CpuMode::Long64)) GTEST_SKIP() << "this host's KVM emulates ring 3";
    expect_all_equal(**oracle);
}

}  // namespace
}  // namespace dualvm::study
