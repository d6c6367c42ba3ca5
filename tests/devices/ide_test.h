// A controller with drives, and the ways that a driver talks to it.
#pragma once

#include "device_test.h"
#include "dualvm/devices/ata_disk.h"
#include "dualvm/devices/atapi_cdrom.h"
#include "dualvm/devices/piix3_ide.h"
#include "memory_disk.h"

namespace dualvm::devices {

class IdeTest : public testing::Test {
protected:
    static constexpr unsigned kMaster = 0xe0, kSlave = 0xf0;

    u8 in(unsigned reg) { return static_cast<u8>(ide.read(base + reg, 1)); }
    void out(unsigned reg, unsigned value) { ide.write(base + reg, 1, value); }
    u8 status() { return in(ata::kStatus); }
    void control(unsigned value) { ide.write(base + Piix3Ide::kControl, 1, value); }
    u8 alternate_status() { return static_cast<u8>(ide.read(base + Piix3Ide::kControl, 1)); }

    void command28(unsigned command, u64 lba, unsigned count, unsigned device = kMaster) {
        out(ata::kDevice, device | (lba >> 24 & 0xf));
        out(ata::kCount, count & 0xff);
        out(ata::kLow, lba & 0xff);
        out(ata::kMid, lba >> 8 & 0xff);
        out(ata::kHigh, lba >> 16 & 0xff);
        out(ata::kCommand, command);
    }
    void command48(unsigned command, u64 lba, unsigned count) {
        out(ata::kDevice, kMaster);
        for (unsigned half : {1u, 0u}) {
            out(ata::kCount, count >> (8 * half) & 0xff);
            out(ata::kLow, static_cast<unsigned>(lba >> (24 * half)) & 0xff);
            out(ata::kMid, static_cast<unsigned>(lba >> (24 * half + 8)) & 0xff);
            out(ata::kHigh, static_cast<unsigned>(lba >> (24 * half + 16)) & 0xff);
        }
        out(ata::kCommand, command);
    }
    std::vector<u8> read_data(std::size_t bytes) {
        std::vector<u8> data;
        while (data.size() < bytes) {
            const u64 word = ide.read(base, 2);
            data.push_back(static_cast<u8>(word));
            data.push_back(static_cast<u8>(word >> 8));
        }
        return data;
    }
    void write_data(std::size_t bytes, u8 value) {
        for (std::size_t i = 0; i < bytes; i += 4) ide.write(base, 4, value * 0x01010101u);
    }
    bool ready() { return (status() & (ata::kDataRequest | ata::kError | ata::kReady)) == ata::kReady; }
    bool requests_data() { return (alternate_status() & ata::kDataRequest) != 0; }
    bool failed_with(u8 error) { return (status() & ata::kError) != 0 && in(ata::kErrorRegister) == error; }
    static bool is_sector(const std::vector<u8>& data, std::size_t at, u64 sector) {
        for (u64 i = 0; i < kSectorSize; ++i) {
            if (data[at + i] != MemoryDisk::pattern(sector * kSectorSize + i)) return false;
        }
        return true;
    }

    // --- the bus master --------------------------------------------------------------------------------------------
    static constexpr u32 kTable = 0x1000;
    unsigned master() const { return static_cast<unsigned>(Piix3Ide::kBusMasters + (base != 0 ? 8 : 0)); }
    void entry(unsigned index, u32 address, u32 count, bool last) {
        vmem->write_value(kTable + 8 * index, address);
        vmem->write_value(kTable + 8 * index + 4, count | (last ? 0x80000000 : 0));
    }
    void start_dma(bool to_memory) {
        ide.write(master() + 4, 4, kTable);
        ide.write(master() + 2, 1, 0x06);
        ide.write(master(), 1, to_memory ? 9 : 1);
    }
    u8 master_status() { return static_cast<u8>(ide.read(master() + 2, 1)); }

    std::unique_ptr<VMem> vmem = *VMem::create(1);
    Wire irq14, irq15;
    Piix3Ide ide{*vmem, {irq14.line(), irq15.line()}, true};
    u64 base = 0;  // offset of the channel
    void SetUp() override { ide.write_config(pci::kCommand, 2, pci::kDecodePorts | pci::kBusMaster); }
};

}  // namespace dualvm::devices
