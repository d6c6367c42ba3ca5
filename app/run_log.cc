#include "run_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "messages.h"

namespace dualvm::app {

namespace {
constexpr std::size_t kLongestFirmwareLine = 4096;
}

Expected<std::unique_ptr<RunLog>> RunLog::open(const LogOptions& options) {
    auto log = std::unique_ptr<RunLog>(new RunLog(options));
    if (!options.path.empty()) {
        auto file = OutputFile::create(options.path);
        if (!file) return tl::unexpected(file.error());
        log->file_.emplace(std::move(*file));
    }
    return log;
}

void RunLog::line(std::string_view text) {
    const std::string with_end = fmt::format("{}\n", text);
    if (file_) {
        file_->write(with_end);
    } else {
        write_all(STDERR_FILENO, with_end, goes_on_);
    }
}

void RunLog::loaded(const boot::BootReport& report) {
    if (!options_.boot) return;
    std::string text = to_text(report);
    if (text.ends_with('\n')) text.pop_back();
    line(text);
}

void RunLog::attach(Machine& machine, std::function<bool()> goes_on) {
    machine_ = &machine;
    goes_on_ = std::move(goes_on);
    if (options_.exits) machine.observe_exits([this](const Exit& e) { exit(e); });
    if (options_.interrupts) {
        tap_ = std::make_unique<study::InterruptTap>(machine, [this](u8 vector) {
            line(fmt::format("{:>12} interrupt {:#04x}", machine_->clock().now(), vector));
        });
    }
}

// One line an exit, with the machine's time in nanoseconds before it. Ends of slices are the run loop's own affair.
void RunLog::exit(const Exit& e) {
    std::string text = fmt::format("{:>12} {:<11}", machine_->clock().now(), to_string(e.kind));
    switch (e.kind) {
        case ExitKind::PortRead:
        case ExitKind::PortWrite:
        case ExitKind::MmioRead:
        case ExitKind::MmioWrite: {
            text +=
                fmt::format(" {:#06x} size {}{}", e.address, e.size, e.count > 1 ? fmt::format(" x {}", e.count) : "");
            text += " data";
            constexpr u32 kShown = 16;
            for (u32 i = 0; i < e.count && i < kShown; ++i) {
                text += ' ';
                for (unsigned byte = e.size; byte-- > 0;) text += fmt::format("{:02x}", e.data[i * e.size + byte]);
            }
            if (e.count > kShown) text += " ...";
            break;
        }
        case ExitKind::Halt:
        case ExitKind::Shutdown: break;
        case ExitKind::Breakpoint:
        case ExitKind::Failure: text += fmt::format(" rip {:#x}", e.rip); break;
        case ExitKind::SingleStep:
        case ExitKind::BudgetUsed:
        case ExitKind::Kicked:
        case ExitKind::Attention:
        case ExitKind::InterruptWindow:
        case ExitKind::UserMode:
        case ExitKind::KernelMode: return;
    }
    line(text);
}

void RunLog::firmware_line() { line("firmware: " + printable(std::exchange(firmware_line_, {}))); }

void RunLog::firmware(u8 byte) {
    if (byte == '\n') {
        firmware_line();
    } else if (byte != '\r') {
        firmware_line_ += static_cast<char>(byte);
        // Anybody may write to firmware's port, and without an end.
        if (firmware_line_.size() >= kLongestFirmwareLine) firmware_line();
    }
}

void RunLog::ended(const CpuFile& cpu) {
    if (!options_.registers) return;
    std::string text = to_text(cpu);
    if (text.ends_with('\n')) text.pop_back();
    line(text);
}

Expected<void> RunLog::finish() {
    if (!firmware_line_.empty()) firmware_line();
    if (machine_ != nullptr) machine_->observe_exits({});
    tap_.reset();
    if (file_) return file_->commit();
    return {};
}

}  // namespace dualvm::app
