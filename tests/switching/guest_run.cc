#include "guest_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "dualvm/boot/boot.h"
#include "dualvm/boot/firmware.h"
#include "dualvm/devices/pc.h"
#include "dualvm/disk.h"
#include "dualvm/interp/interpreter.h"
#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/kvm/probe.h"

namespace dualvm {

namespace {

constexpr u64 kMemoryMebibytes = 128;

// The disk that tests/guests/run_guest.py makes, in memory.
class PatternDisk final : public Disk {
public:
    explicit PatternDisk(u64 sectors) : bytes_(sectors * 512) {
        for (std::size_t at = 0; at < bytes_.size(); ++at) bytes_[at] = static_cast<u8>(at * 7 + at / 512 * 13);
    }
    u64 size_in_sectors() const override { return bytes_.size() / 512; }
    bool read_only() const override { return false; }
    Expected<void> read(u64 offset, std::span<u8> to) override {
        std::memcpy(to.data(), bytes_.data() + offset, to.size());
        return {};
    }
    Expected<void> write(u64 offset, std::span<const u8> from) override {
        std::memcpy(bytes_.data() + offset, from.data(), from.size());
        return {};
    }
    Expected<void> flush() override { return {}; }

private:
    std::vector<u8> bytes_;
};

nlohmann::json manifest() {
    std::ifstream file(DUALVM_MANIFEST);
    return nlohmann::json::parse(file);
}

GuestOfManifest from_json(const nlohmann::json& entry) {
    GuestOfManifest guest;
    guest.name = entry.at("name");
    guest.file = entry.at("file");
    guest.arguments = entry.at("arguments");
    guest.needs = entry.value("needs", std::vector<std::string>{});
    guest.disk_sectors = entry.value("disk", u64{0});
    return guest;
}

bool uses_timers(const std::string& name) { return name.starts_with("timer"); }

Expected<std::unique_ptr<Engine>> make_other(Machine& machine, Other other) {
    switch (other) {
        case Other::Interp: break;
        case Other::Kvm: {
            KvmOptions options;
            options.rescue = make_interpreter(machine);
            return make_kvm_engine(machine, std::move(options));
        }
        case Other::Assisted:
            return make_assisted_engine(machine, make_interpreter(machine, {.without = {}, .host_tsc = true}), {});
    }
    return make_interpreter(machine, {.without = {}, .host_tsc = true});
}

const KvmReport* probe() {
    static const auto report = probe_kvm({});
    return report ? &*report : nullptr;
}

}  // namespace

const std::vector<GuestOfManifest>& guests_to_switch() {
    static const std::vector<GuestOfManifest> all = [] {
        std::vector<GuestOfManifest> found;
        const nlohmann::json all_of_it = manifest();
        for (const auto& entry : all_of_it.at("guests")) {
            const auto& status = entry.at("status");
            // What is left in a CPU that is shutting down is no guest's business: those that end by debug-exit.
            const bool ends_itself = status.is_number_integer() && status.get<int>() % 2 == 1;
            if (!entry.value("deterministic", false) || !ends_itself || entry.contains("options")) continue;
            if (uses_timers(entry.at("name"))) continue;
            found.push_back(from_json(entry));
        }
        return found;
    }();
    return all;
}

const GuestOfManifest& guest_of_manifest(const std::string& name) {
    const auto& all = guests_to_switch();
    const auto found = std::find_if(all.begin(), all.end(), [&](const GuestOfManifest& g) { return g.name == name; });
    if (found == all.end()) throw std::out_of_range("the manifest has no guest " + name);
    return *found;
}

GuestOfManifest timer_guest() {
    GuestOfManifest guest;
    guest.name = "timer";
    guest.file = "timer.elf";
    guest.arguments = "size=20";
    return guest;
}

const char* to_string(Other other) {
    switch (other) {
        case Other::Interp: return "another interpreter";
        case Other::Kvm: return "KVM";
        case Other::Assisted: return "the assisted engine";
    }
    return "?";
}

Expected<Loaded> load_guest(const GuestOfManifest& guest) {
    Loaded loaded;
    auto machine = Machine::create({.memory_mebibytes = kMemoryMebibytes, .clock = ClockKind::Host});
    if (!machine) return tl::unexpected(machine.error());
    loaded.machine = std::move(*machine);
    devices::PcConfig config;
    config.serial_output = [output = loaded.output](u8 byte) { *output += static_cast<char>(byte); };
    if (guest.disk_sectors != 0) {
        loaded.disks.push_back(std::make_unique<PatternDisk>(guest.disk_sectors));
        config.ide_drives[0] = devices::IdeDriveConfig{.disk = loaded.disks.back().get()};
    }
    const auto pc = devices::Pc::build(*loaded.machine, config);
    if (!pc) return tl::unexpected(pc.error());
    (*pc)->set_font(boot::vga_font());
    boot::BootConfig boot;
    boot.kernel = std::string(DUALVM_GUEST_FOLDER "/") + guest.file;
    boot.append = guest.arguments;
    if (auto booted = boot::boot_guest(*loaded.machine, boot); !booted) return tl::unexpected(booted.error());
    return loaded;
}

void fit_cpu_to_kvm(Machine& machine) {
    const u64 refused = cr4_bits_refused_by_kvm(machine.cpu_model(), "/dev/kvm");
    machine.set_cpu_model(machine.cpu_model().without_cr4_bits(refused));
}

Expected<Ending> run_guest(const GuestOfManifest& guest, Other other, const study::SwitchPlan& plan, const Wrap& wrap) {
    Ending end;
    auto loaded = load_guest(guest);
    if (!loaded) return tl::unexpected(loaded.error());
    static_cast<Loaded&>(end) = std::move(*loaded);

    if (other == Other::Kvm) fit_cpu_to_kvm(*end.machine);  // also for the run that never switches
    std::vector<study::SwitchingEngine::Part> parts;
    auto interp = make_interpreter(*end.machine, {.without = {}, .host_tsc = true});
    const Engine& counting = *interp;
    parts.push_back({"interp", std::move(interp)});
    if (!plan.rules.empty()) {
        auto made = make_other(*end.machine, other);
        if (!made) return tl::unexpected(made.error());
        parts.push_back({"other", wrap ? wrap(*end.machine, std::move(*made)) : std::move(*made)});
    }
    auto engine = study::SwitchingEngine::create(*end.machine, std::move(parts), plan);
    if (!engine) return tl::unexpected(engine.error());
    (*engine)->push(Groups::All);
    constexpr Nanoseconds kLimit = 60'000'000'000;
    end.result = run_loop(*end.machine, **engine, {.timeout = kLimit}, {});
    (*engine)->pull(Groups::All);
    (*engine)->collect_dirty();
    end.statistics = (*engine)->statistics();
    end.hand_overs = (*engine)->hand_overs();
    end.instructions = counting.instructions();
    return end;
}

std::string differences(const Ending& a, const Ending& b) {
    std::string text;
    if (a.result.status != b.result.status || a.result.reason != b.result.reason) {
        text += fmt::format("end: {} ({}) <> {} ({}): {}\n", a.result.reason, a.result.status, b.result.reason,
                            b.result.status, b.result.text);
    }
    if (*a.output != *b.output) text += fmt::format("output:\n{}\n<>\n{}\n", *a.output, *b.output);
    text += differences(a.machine->cpu(), b.machine->cpu(), Groups::All);
    constexpr unsigned kShown = 8;
    unsigned different = 0;
    std::array<u8, kPageSize> x{}, y{};
    for (u64 at = 0; at < kMemoryMebibytes << 20; at += kPageSize) {
        const VMem &p = a.machine->vmem(), &q = b.machine->vmem();
        const bool dirty = p.is_dirty(at);
        if (dirty && !q.is_dirty(at) && ++different <= kShown) text += fmt::format("page {:#x} is not dirty\n", at);
        // What nobody has written to is as it was.
        if (!dirty && !q.is_dirty(at)) continue;
        if (p.read(at, x.data(), kPageSize) != q.read(at, y.data(), kPageSize) || x == y) continue;
        const auto where = std::mismatch(x.begin(), x.end(), y.begin());
        if (++different <= kShown) {
            text += fmt::format("memory at {:#x}: {:#x} <> {:#x}\n", at + static_cast<u64>(where.first - x.begin()),
                                *where.first, *where.second);
        }
    }
    if (different > kShown) text += fmt::format("and {} pages more\n", different - kShown);
    return text;
}

std::string why_not_under_kvm(const GuestOfManifest& guest) {
    // As in tests/guests/run_guest.py: rows of `dualvm probe`, and what it does not measure.
    static const std::map<std::string, std::string> kRows = {
        {"syscall from ring 3", "syscall_ring3"},
        {"int n from ring 3", "int_n_ring3"},
        {"32-bit paging", "paging32"},
        {"writes across pages that fault whole at ring 0", "split_write_ring0"}};
    for (const std::string& need : guest.needs) {
        if (need == "PCIDs") continue;  // run_guest takes them out of the CPU model
        const auto row = kRows.find(need);
        const KvmReport::Row* found = row == kRows.end() || probe() == nullptr ? nullptr : probe()->find(row->second);
        const bool lacks = row == kRows.end() ? host_is_pvm() : found != nullptr && found->value == "no";
        if (lacks) return "this host's KVM lacks " + need;
    }
    return {};
}

bool host_is_pvm() {
    const KvmReport::Row* kind = probe() == nullptr ? nullptr : probe()->find("kind");
    return kind != nullptr && kind->value == "kvm_pvm";
}

}  // namespace dualvm
