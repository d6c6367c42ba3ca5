// Hosts without a usable KVM.
#include <gtest/gtest.h>

#include <cstdio>

#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/kvm/probe.h"

namespace dualvm {
namespace {

Error error_of(const std::string& device) {
    auto machine = Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host});
    KvmOptions options;
    options.device = device;
    auto engine = make_kvm_engine(**machine, std::move(options));
    return engine ? Error{ExitStatus::Clean, "no error"} : engine.error();
}

void expect_unavailable(const std::string& device, const char* says) {
    const Error error = error_of(device);
    EXPECT_EQ(error.status, ExitStatus::EngineUnavailable);
    EXPECT_NE(error.text.find(device), std::string::npos) << error.text;
    EXPECT_NE(error.text.find(says), std::string::npos) << error.text;
}

TEST(Device, MissingTellsToLookAtTheOption) { expect_unavailable("/dev/no-such-kvm", "check --kvm-device"); }

TEST(Device, ARegularFileIsNoKvm) {
    const std::string path = testing::TempDir() + "not-kvm";
    std::FILE* file = std::fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fclose(file);
    expect_unavailable(path, "is not a KVM device");
    std::remove(path.c_str());
}

TEST(Device, AnotherDeviceIsNoKvm) { expect_unavailable("/dev/null", "is not a KVM device"); }

TEST(Device, ADirectoryIsNoKvm) { expect_unavailable("/", "cannot open"); }

TEST(Device, TheProbeFailsInTheSameWay) {
    const auto report = probe_kvm({.device = "/dev/null"});
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().status, ExitStatus::EngineUnavailable);
}

}  // namespace
}  // namespace dualvm
