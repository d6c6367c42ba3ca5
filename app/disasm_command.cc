// dualvm disasm: instructions of a guest (loaded, not run), of a flat file, or of bytes on the command line.
#include <fmt/format.h>

#include <array>
#include <fstream>

#include "commands.h"
#include "dualvm/study/disassembler.h"
#include "dualvm/study/guest_view.h"
#include "guest.h"
#include "interruption.h"
#include "text_output.h"

namespace dualvm::app {

namespace {

constexpr u64 kGuestInstructions = 40;
constexpr std::size_t kLongestFile = std::size_t{256} << 20;

// Flat code: from `start` (default: its base) to its end.
Expected<void> disassemble_flat(const Options& options, std::span<const u8> code, TextOutput& out) {
    const DisasmOptions& d = options.disasm;
    const CpuMode mode = d.mode.value_or(CpuMode::Long64);
    const u64 base = d.base.value_or(0);
    u64 at = d.start.value_or(base);
    if (at < base || at - base >= code.size()) {
        return fail(ExitStatus::BadImage,
                    fmt::format("there is no code at {:#x}: it lies at {:#x} to {:#x}", at, base, base + code.size()));
    }
    const study::Disassembler disassembler(options.syntax);
    code = code.subspan(at - base);
    for (u64 i = 0; !code.empty() && i < d.count.value_or(kUnlimited); ++i) {
        if (interrupted()) return fail(ExitStatus::Limit, "interrupted");
        const study::Line line = disassembler.line(mode, at, code);
        if (!out.line(to_text(line))) break;
        at += line.bytes.size();
        code = code.subspan(line.bytes.size());
    }
    return {};
}

Expected<std::vector<u8>> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::vector<u8> bytes;
    std::array<char, 65536> piece;
    while (in.read(piece.data(), piece.size()), in.gcount() > 0) {
        bytes.insert(bytes.end(), piece.data(), piece.data() + in.gcount());
        if (bytes.size() > kLongestFile) {
            return fail(ExitStatus::BadImage,
                        fmt::format("{} has more than {} MiB: that is no code", path, kLongestFile >> 20));
        }
    }
    if (!in.eof()) {
        return fail(ExitStatus::BadImage,
                    fmt::format("cannot read {}: is it a file that is there, and may you read it?", path));
    }
    if (bytes.empty()) return fail(ExitStatus::BadImage, fmt::format("{} is empty", path));
    return bytes;
}

// A guest as it lies in memory when it begins.
Expected<void> disassemble_guest(const Options& options, TextOutput& out) {
    const DisasmOptions& d = options.disasm;
    auto machine = Machine::create({.memory_mebibytes = options.guest.memory_mebibytes});
    if (!machine) return tl::unexpected(machine.error());
    boot::BootConfig config;
    config.kernel = d.file;
    if (auto booted = boot::boot_guest(**machine, config); !booted) {
        Error error = booted.error();
        error.text += "; if it is machine code and nothing else, use --raw";
        return tl::unexpected(error);
    }
    const CpuFile& cpu = (*machine)->cpu();
    const CpuMode mode = d.mode.value_or(cpu.mode());
    u64 at = cpu.general.rip;
    u64 code_base = cpu.code_base();
    if (d.start || d.mode) code_base = 0;
    if (d.start) {
        at = *d.start;
    } else if (d.mode) {
        at += cpu.code_base();
    }
    const study::Disassembler disassembler(options.syntax);
    for (u64 i = 0; i < d.count.value_or(kGuestInstructions); ++i) {
        if (interrupted()) return fail(ExitStatus::Limit, "interrupted");
        std::array<u8, 15> bytes{};
        const std::size_t n = study::read_linear(cpu, (*machine)->vmem(), code_base + at, bytes);
        if (n == 0) return fail(ExitStatus::BadImage, fmt::format("there is no memory at {:#x}", code_base + at));
        const study::Line line = disassembler.line(mode, at, std::span(bytes).first(n));
        if (!out.line(to_text(line))) break;
        at += line.bytes.size();
    }
    return {};
}

Expected<void> disassemble(const Options& options, TextOutput& out) {
    if (!options.disasm.bytes.empty()) return disassemble_flat(options, options.disasm.bytes, out);
    if (!options.disasm.raw) return disassemble_guest(options, out);
    const auto bytes = read_file(options.disasm.file);
    if (!bytes) return tl::unexpected(bytes.error());
    return disassemble_flat(options, *bytes, out);
}

}  // namespace

int disasm_command(const Options& options, const Messages& messages) {
    auto out = TextOutput::open(options.output_path);
    if (!out) return report_error(out.error(), messages);
    if (auto done = disassemble(options, **out); !done) {
        // A file gets its name when it is whole; what was found before is printed.
        if (options.output_path.empty() && !interrupted()) static_cast<void>((*out)->finish());
        return report_error(done.error(), messages);
    }
    if (auto written = (*out)->finish(); !written) return report_error(written.error(), messages);
    return static_cast<int>(ExitStatus::Clean);
}

}  // namespace dualvm::app
