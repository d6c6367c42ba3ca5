// QEMU's firmware configuration device (qemu: docs/specs/fw_cfg.rst), by which firmware asks the machine what it is
// made of and fetches files: a selector at port 510h, the selected item byte by byte at 511h, or by DMA through 514h.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm::devices {

class FwCfg final : public Device {
public:
    static constexpr u64 kSelector = 0, kData = 1, kDma = 4, kSize = 12;  // offsets from port 510h

    // Items that have a number of their own.
    enum Key : u16 {
        Signature = 0x00,
        Id = 0x01,
        RamSize = 0x03,
        Processors = 0x05,
        BootMenu = 0x0e,
        MostProcessors = 0x0f,
        FileDirectory = 0x19,
        FirstFile = 0x20,
    };

    explicit FwCfg(Machine& machine);

    void add(u16 key, std::vector<u8> bytes) { items_[key] = std::move(bytes); }
    template <class T>
    void add_number(u16 key, T value) {
        add(key, bytes_of(value));
    }
    // A file of this name (at most 55 characters), in the directory.
    void add_file(const std::string& name, std::vector<u8> bytes);

    const char* name() const override { return "fw_cfg"; }
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override;
    void save(ArchiveWriter& out) const override;
    void load(ArchiveReader& in) override;

private:
    template <class T>
    static std::vector<u8> bytes_of(T value) {
        std::vector<u8> bytes;
        for (std::size_t i = 0; i < sizeof(T); ++i) bytes.push_back(static_cast<u8>(u64{value} >> (8 * i)));
        return bytes;
    }
    void select(u16 key);
    std::vector<u8> directory() const;
    u8 next_byte();
    void run_dma(u64 descriptor);
    bool copy_to_guest(u64 address, u32 length);

    Machine& machine_;
    std::map<u16, std::vector<u8>> items_;
    struct File {
        std::string name;
        u16 key;
    };
    std::vector<File> files_;
    u16 selected_ = 0;
    u64 position_ = 0;  // in the selected item; it may be beyond its end
    u32 dma_high_ = 0;  // the upper half of the next descriptor's address
};

}  // namespace dualvm::devices
