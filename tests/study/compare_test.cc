#include "dualvm/study/compare.h"

#include <gtest/gtest.h>

#include <map>

#include "scripted_engine.h"

namespace dualvm::study {
namespace {

// What a guest of these tests does: prints, then ends with a debug-exit value, or goes on for ever.
struct Behaviour {
    std::string prints{};
    std::optional<u8> ends_with = u8{0};
    u64 instructions = 1000;
    bool counts = true;
    u64 rax = 0;
};

struct Compare : testing::Test {
    std::map<std::string, Behaviour> engines;
    CompareOptions options;

    Expected<Comparison> run() {
        for (const auto& [name, behaviour] : engines) options.engines.push_back(name);
        return compare(options, [this](const std::string& name) { return make(name); });
    }
    Expected<std::unique_ptr<Subject>> make(const std::string& name) {
        if (!engines.contains(name)) return fail(ExitStatus::EngineUnavailable, "not here");
        auto subject = std::make_unique<Subject>();
        subject->machine = std::move(*Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host}));
        Capabilities can;
        can.exact_instruction_counts = engines[name].counts;
        auto script = [&b = engines[name], s = subject.get()](const Budget&) {
            auto* engine = static_cast<ScriptedEngine*>(s->engine.get());
            if (engine->executed == 0) *s->output += b.prints;
            engine->executed = b.instructions;
            s->machine->cpu().general.gpr[RAX] = b.rax;
            if (b.ends_with) {
                s->machine->request({.kind = RequestKind::DebugExit, .debug_exit_value = *b.ends_with});
                return Exit{.kind = ExitKind::Attention};
            }
            return Exit{.kind = ExitKind::BudgetUsed};
        };
        subject->engine = std::make_unique<ScriptedEngine>(script, can);
        return subject;
    }
};

TEST_F(Compare, EnginesThatDoTheSameAgree) {
    engines = {{"a", {.prints = "42\n"}}, {"b", {.prints = "42\n", .counts = false}}};
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 0);
    EXPECT_TRUE(result->disagreements.empty());
    EXPECT_EQ(result->runs[0].result.status, 1);
    EXPECT_NE(to_text(*result).find("serial output: the same under 2 engines (3 bytes)"), std::string::npos);
}

TEST_F(Compare, ADifferentOutputIsADisagreementThatSaysWhere) {
    engines = {{"a", {.prints = "one\ntwo\n"}}, {"b", {.prints = "one\ntoo\n"}}};
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 14);
    ASSERT_EQ(result->disagreements.size(), 1u);
    EXPECT_NE(result->disagreements[0].find("byte 5 (line 2): a printed \"wo\\n\", b printed \"oo\\n\""),
              std::string::npos)
        << result->disagreements[0];
}

TEST_F(Compare, ADifferentEndIsADisagreement) {
    engines = {{"a", {.ends_with = 1}}, {"b", {.ends_with = 2}}};
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 14);
}

TEST_F(Compare, RegistersThatDifferAreListedButAreNoDisagreement) {
    engines = {{"a", {.rax = 1}}, {"b", {.rax = 2}}};
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 0);
    EXPECT_EQ(result->cpu_differences, "rax: 0x1 <> 0x2\n");
}

TEST_F(Compare, AnEngineThatCannotRunIsNamedWithTheReason) {
    engines = {{"a", {}}};
    options.engines = {"missing"};
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 0);
    EXPECT_EQ(result->runs[0].unavailable, "not here");
    EXPECT_NE(to_text(*result).find("missing: not run: not here"), std::string::npos);
}

TEST_F(Compare, NoEngineAtAllIsAnError) {
    options.engines = {"missing"};
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 6);
}

TEST_F(Compare, OutputsCutByALimitAgreeAsFarAsTheyGo) {
    engines = {{"a", {.prints = "abcdef"}}, {"b", {.prints = "abc", .ends_with = std::nullopt}}};
    options.limits.timeout = 10'000'000;
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 12);
    EXPECT_TRUE(result->cut_short);
}

TEST_F(Compare, MoreOutputBeforeALimitThanTheOtherEverPrintedIsADisagreement) {
    engines = {{"a", {.prints = "abc"}}, {"b", {.prints = "abcdef", .ends_with = std::nullopt}}};
    options.limits.timeout = 10'000'000;
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 14);
}

TEST_F(Compare, AnEngineThatCannotCountIsNotRunUnderAnInstructionLimit) {
    engines = {{"a", {.instructions = 100}}, {"b", {.counts = false}}};
    options.limits.max_instructions = 1000;
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->runs[0].unavailable);
    EXPECT_TRUE(result->runs[1].unavailable);
}

TEST_F(Compare, AnEngineThatCannotCountIsGivenTheOthersCount) {
    engines = {{"a", {.instructions = 5'000'000}}, {"b", {.counts = false}}};
    const auto result = run();
    ASSERT_TRUE(result);
    ASSERT_TRUE(result->runs[1].mips);
    EXPECT_EQ(result->runs[1].mips_count_from, "a");
    EXPECT_FALSE(result->runs[1].result.instructions);
}

TEST_F(Compare, EveryRepetitionIsTimed) {
    engines = {{"a", {}}};
    options.repeat = 4;
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->runs[0].seconds.size(), 4u);
    EXPECT_TRUE(result->runs[0].same_every_time);
}

TEST_F(Compare, RepetitionsThatALimitCutAgreeAsFarAsTheyGo) {
    engines = {{"a", {.prints = "abc", .ends_with = std::nullopt}}};
    options.engines = {"a"};
    options.repeat = 3;
    options.limits.timeout = 10'000'000;
    const auto result = compare(options, [this](const std::string& name) {
        engines["a"].prints += "d";
        return make(name);
    });
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 12);
    EXPECT_TRUE(result->cut_short);
}

TEST_F(Compare, ARepetitionThatPrintedMoreBeforeALimitThanAWholeOneIsADisagreement) {
    engines = {{"a", {.prints = "abc"}}};
    options.engines = {"a"};
    options.repeat = 2;
    options.limits.timeout = 10'000'000;
    unsigned made = 0;
    const auto result = compare(options, [&](const std::string& name) {
        if (++made == 2) engines["a"] = {.prints = "abcdef", .ends_with = std::nullopt};
        return make(name);
    });
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 14);
    EXPECT_EQ(result->runs[0].seconds.size(), 1u) << "the time of a run that was cut is no whole run's";
}

TEST_F(Compare, ARepetitionThatIsInterruptedIsNoDisagreement) {
    engines = {{"a", {.prints = "abc"}}, {"b", {.prints = "abc"}}};
    options.engines = {"a", "b"};
    options.repeat = 3;
    std::atomic<bool> interrupted = false;
    unsigned made = 0;
    const auto result = compare(options, [&](const std::string& name) {
        auto subject = make(name);
        interrupted = ++made == 2;
        if (interrupted) engines["a"].ends_with = std::nullopt;
        (*subject)->hooks.interrupted = &interrupted;
        return subject;
    });
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 12);
    EXPECT_EQ(result->runs[0].seconds.size(), 1u);
    EXPECT_EQ(result->ran(), 1u);
}

TEST_F(Compare, ATripleFaultOnEveryEngineIsTheStatus) {
    options.engines = {"x"};
    const auto result = compare(options, [](const std::string&) -> Expected<std::unique_ptr<Subject>> {
        auto subject = std::make_unique<Subject>();
        subject->machine = std::move(*Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host}));
        subject->engine = std::make_unique<ScriptedEngine>(
            [](const Budget&) { return Exit{.kind = ExitKind::Shutdown}; }, Capabilities{});
        return subject;
    });
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status(), 8);
}

TEST_F(Compare, ABadGuestEndsTheComparison) {
    options.engines = {"x"};
    const auto result = compare(options, [](const std::string&) -> Expected<std::unique_ptr<Subject>> {
        return fail(ExitStatus::BadImage, "no kernel");
    });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().status, ExitStatus::BadImage);
}

}  // namespace
}  // namespace dualvm::study
