// The probe comes to an end, and its rows are what programs expect.
#include "dualvm/kvm/probe.h"

#include <gtest/gtest.h>

#include <set>

#include "dualvm/clock.h"

namespace dualvm {
namespace {

TEST(Probe, RowsHaveAnIdOfTheirOwnAndAValue) {
    const HostClock clock;
    const auto report = probe_kvm({});
    if (!report) GTEST_SKIP() << report.error().text;
    std::set<std::string> ids;
    for (const auto& row : report->rows) {
        EXPECT_TRUE(ids.insert(row.id).second) << row.id << " is there twice";
        EXPECT_FALSE(row.what.empty()) << row.id;
        EXPECT_FALSE(row.value.empty()) << row.id;
        EXPECT_TRUE(row.value != "failed" || !row.text.empty()) << row.id << " does not say why";
    }
    // Every measurement is bounded; a machine that is busy with other tests is given time.
    EXPECT_LT(clock.now(), 30'000'000'000u);
}

TEST(Probe, HasTheRowsThatTestsAndBenchmarksLookFor) {
    const auto report = probe_kvm({});
    if (!report) GTEST_SKIP() << report.error().text;
    for (const char* id : {"api_version", "kind", "speed_native", "speed_ring3_64", "speed_ring0_64", "cost_out_ring0",
                           "syscall_ring3", "int_n_ring3", "paging32", "pcid", "split_write_ring0", "fwait_ring0",
                           "single_step_ring3", "fresh_page_tables", "interrupt_injection"}) {
        EXPECT_NE(report->find(id), nullptr) << id;
    }
    EXPECT_EQ(report->find("no_such_row"), nullptr);
}

TEST(Probe, SomeGuestCodeRunsAtTheCpusSpeed) {
    const auto report = probe_kvm({});
    if (!report) GTEST_SKIP() << report.error().text;
    const auto* row = report->find("speed_ring3_64");
    ASSERT_NE(row, nullptr);
    EXPECT_NE(row->value, "failed") << row->text;
}

}  // namespace
}  // namespace dualvm
