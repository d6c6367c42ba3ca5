// The probe's chapters. Each adds its rows to the report; a measurement that fails adds a row that says how.
#pragma once

#include "dualvm/kvm/probe.h"
#include "probe/lab.h"

namespace dualvm::kvm {

class Report {
public:
    explicit Report(KvmReport& to) : to_(to) {}

    void number(std::string id, std::string what, double value, std::string unit, std::string text = {});
    void yes_no(std::string id, std::string what, bool value, std::string text = {});
    void word(std::string id, std::string what, std::string value, std::string text = {});
    // A measurement that could not be made: the value is "failed".
    void failed(std::string id, std::string what, std::string why) {
        word(std::move(id), std::move(what), "failed", std::move(why));
    }

private:
    KvmReport& to_;
};

void report_host(Report& report, const KvmDevice& device);        // API version, module, capabilities
void report_speed(Report& report, const KvmDevice& device);       // instructions a second, mode by mode
void report_costs(Report& report, const KvmDevice& device);       // of ioctls, exits and events
void report_privileged(Report& report, const KvmDevice& device);  // what ring 3 and ring 0 can do
void report_debugging(Report& report, const KvmDevice& device);   // single step, hardware breakpoints
void report_memory(Report& report, const KvmDevice& device);      // page tables changed by user space
void report_split_write(Report& report, const KvmDevice& device);
void report_interrupts(Report& report, const KvmDevice& device);  // KVM_INTERRUPT into a ring-3 loop

}  // namespace dualvm::kvm
