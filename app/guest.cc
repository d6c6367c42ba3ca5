#include "guest.h"

#include <fmt/format.h>

#include "dualvm/boot/firmware.h"
#include "dualvm/storage/image.h"
#include "interruption.h"

namespace dualvm::app {

namespace {

// Opens the images that the drives get.
Expected<void> open_drives(const DriveOptions& drives, const GuestOutputs& outputs, Guest& guest,
                           devices::PcConfig& config) {
    const auto open = [&](const std::string& path, bool writable) -> Expected<Disk*> {
        auto image = storage::open_image(path, {.writable = writable});
        if (!image) return tl::unexpected(image.error());
        if ((*image)->size_in_sectors() == 0) {
            return fail(ExitStatus::BadImage,
                        fmt::format("{} is empty: 'dualvm img create' makes an image with room in it", path));
        }
        guest.disks.push_back(std::make_unique<WatchedDisk>(std::move(*image), outputs.disk_trouble));
        return guest.disks.back().get();
    };
    for (std::size_t i = 0; i < drives.disks.size(); ++i) {
        if (drives.disks[i].empty()) continue;
        auto disk = open(drives.disks[i], true);
        if (!disk) return tl::unexpected(disk.error());
        config.ide_drives[i] = devices::IdeDriveConfig{.disk = *disk};
    }
    if (!drives.cdrom.empty()) {
        auto disk = open(drives.cdrom, false);
        if (!disk) return tl::unexpected(disk.error());
        config.ide_drives[2] = devices::IdeDriveConfig{.disk = *disk, .cdrom = true};
    }
    for (std::size_t i = 0; i < drives.floppies.size(); ++i) {
        if (drives.floppies[i].empty()) continue;
        auto disk = open(drives.floppies[i], true);
        if (!disk) return tl::unexpected(disk.error());
        config.floppies[i] = *disk;
    }
    return {};
}

}  // namespace

Expected<Guest> make_guest(const Options& options, EngineName engine, ClockKind clock, const GuestOutputs& outputs) {
    Guest guest;
    auto machine = Machine::create({.memory_mebibytes = options.guest.memory_mebibytes, .clock = clock});
    if (!machine) return tl::unexpected(machine.error());
    guest.machine = std::move(*machine);

    devices::PcConfig config;
    config.serial_output = outputs.serial;
    config.debug_console_output = outputs.debug_console;
    config.acpi = options.guest.acpi;
    if (options.guest.boot.kernel.empty()) {
        config.firmware = devices::FirmwareConfig{.log = outputs.firmware, .boot_menu = options.guest.order.menu};
    }
    if (auto opened = open_drives(options.guest.drives, outputs, guest, config); !opened) {
        return tl::unexpected(opened.error());
    }
    auto pc = devices::Pc::build(*guest.machine, config);
    if (!pc) return tl::unexpected(pc.error());
    guest.pc = std::move(*pc);
    if (options.guest.boot.kernel.empty()) {
        for (auto& file : boot::firmware_files(*guest.machine, !options.guest.graphic)) {
            guest.pc->add_firmware_file(file.name, std::move(file.bytes));
        }
    } else {
        guest.pc->set_font(boot::vga_font());
    }
    const BootOrder& order = options.guest.order;
    guest.pc->set_boot_order(order.once.empty() ? order.order : order.once);

    auto booted = boot::boot_guest(*guest.machine, options.guest.boot);
    if (!booted) return tl::unexpected(booted.error());
    guest.boot = std::move(*booted);
    if (outputs.loaded) outputs.loaded(guest.boot);

    EngineOptions wanted = options.engine;
    wanted.ready_made = options.command == Command::Compare;
    wanted.dirty_log =
        options.command == Command::Compare || options.statistics || options.json.to != JsonOptions::To::Nowhere;
    auto made = wanted.switching.rules.empty() ? make_engine(*guest.machine, engine, wanted)
                                               : make_switching_engine(*guest.machine, engine, wanted);
    if (!made) return tl::unexpected(made.error());
    guest.engine = std::move(*made);
    guest.engine->push(Groups::All);
    return guest;
}

Expected<void> finish_disks(Guest& guest) {
    Expected<void> all;
    for (const auto& disk : guest.disks) {
        auto finished = disk->finish();
        if (!finished && all) {
            all = fail(finished.error().status,
                       finished.error().text + " (what the guest wrote last may not be in the image)");
        }
    }
    return all;
}

RunHooks usual_hooks(Machine& machine, devices::Pc& pc, const Options& options) {
    RunHooks hooks;
    hooks.interrupted = &interrupted_flag();
    hooks.triple_fault_resets = options.guest.triple_fault_resets;
    if (options.guest.reboot) {
        hooks.reboot = [&machine, &pc, &options]() -> Expected<void> {
            pc.set_boot_order(options.guest.order.order);
            if (auto again = boot::boot_guest(machine, options.guest.boot); !again) {
                return tl::unexpected(again.error());
            }
            return {};
        };
    }
    return hooks;
}

}  // namespace dualvm::app
