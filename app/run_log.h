// The log that -d asks for: on standard error, or in -D's file.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "dualvm/boot/boot.h"
#include "dualvm/machine.h"
#include "dualvm/study/interrupt_tap.h"
#include "options.h"
#include "output_file.h"

namespace dualvm::app {

class RunLog {
public:
    static Expected<std::unique_ptr<RunLog>> open(const LogOptions& options);

    void loaded(const boot::BootReport& report);
    // Follows the machine's exits and interrupts, as far as they were asked for.
    // While nobody takes the log, `goes_on` is asked (write_all()).
    void attach(Machine& machine, std::function<bool()> goes_on);
    // A byte of what firmware says of its work.
    void firmware(u8 byte);
    void ended(const CpuFile& cpu);
    // Stops following; gives a file its name.
    Expected<void> finish();

private:
    explicit RunLog(const LogOptions& options) : options_(options) {}
    void line(std::string_view text);
    void exit(const Exit& exit);
    void firmware_line();

    LogOptions options_;
    std::optional<OutputFile> file_;
    std::string firmware_line_;
    Machine* machine_ = nullptr;
    std::function<bool()> goes_on_;
    std::unique_ptr<study::InterruptTap> tap_;
};

}  // namespace dualvm::app
