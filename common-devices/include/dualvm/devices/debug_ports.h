// Ports for guests and firmware under test: debug exit (QEMU's isa-debug-exit), debug consoles (Bochs's E9h, QEMU's and
// SeaBIOS's 402h), POST codes (80h).
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm::devices {

// Writing v ends the run; the process status is (v << 1) | 1.
class DebugExit final : public Device {
public:
    explicit DebugExit(Machine& machine) : machine_(machine) {}
    const char* name() const override { return "debug exit"; }
    u64 read(u64, unsigned) override { return 0; }
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}

private:
    Machine& machine_;
};

// Every byte written goes to the sink. A read gives E9h, by which guests find it.
class DebugConsole final : public Device {
public:
    explicit DebugConsole(std::function<void(u8)> output) : output_(std::move(output)) {}
    const char* name() const override { return "debug console"; }
    bool posted_writes() const override { return true; }
    u64 read(u64, unsigned) override { return 0xe9; }
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}

private:
    std::function<void(u8)> output_;
};

// Port 80h keeps the last POST codes. (Guests also write it to wait a microsecond.)
class PostCode final : public Device {
public:
    const char* name() const override { return "post code"; }
    bool posted_writes() const override { return true; }
    static constexpr std::size_t kKept = 16;
    u64 read(u64, unsigned) override { return last(); }
    void write(u64, unsigned, u64 value) override { codes_[written_++ % kKept] = static_cast<u8>(value); }
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;
    u8 last() const { return written_ == 0 ? 0 : codes_[(written_ - 1) % kKept]; }
    // Oldest first, at most kKept.
    std::vector<u8> codes() const;

private:
    std::array<u8, kKept> codes_{};
    u64 written_ = 0;
};

}  // namespace dualvm::devices
