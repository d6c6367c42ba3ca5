// The host bridge of the i440FX chipset (Intel 82441FX PMC data sheet): what PCI finds as the CPU's side, and the
// registers that say which parts of C0000h-FFFFFh are RAM ("programmable attribute map", PAM).
#pragma once

#include "dualvm/devices/pci.h"
#include "dualvm/vmem.h"

namespace dualvm::devices {

class I440Fx final : public Device, public PciFunction {
public:
    // As the data sheet has it, C0000h-FFFFFh shows the ROM after a reset; a PC without firmware begins with RAM there.
    enum class AfterReset : u8 { Rom, Ram };
    // Mapped as MMIO, it gets the writes that do not go to what is read.
    static constexpr u64 kBase = VMem::kShadowBase, kSize = VMem::kShadowEnd - VMem::kShadowBase;

    I440Fx(VMem& vmem, AfterReset after_reset);

    const char* name() const override { return "i440fx"; }
    u64 read(u64, unsigned) override { return ~u64{0}; }
    void write(u64 offset, unsigned size, u64 value) override;
    void reset() override { reset_config(); }
    void save(ArchiveWriter& out) const override { save_config(out); }
    void load(ArchiveReader& in) override { load_config(in); }

private:
    void config_changed(unsigned at, unsigned size) override;

    VMem& vmem_;
};

}  // namespace dualvm::devices
