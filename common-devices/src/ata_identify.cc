// IDENTIFY DEVICE (ATA/ATAPI-6, 8.15): 256 words that tell what the disk can do.
#include <algorithm>
#include <array>

#include "dualvm/devices/ata_disk.h"
#include "identify_words.h"

namespace dualvm::devices {

void AtaDisk::identify() {
    const u64 size = disk_.size_in_sectors();
    const Geometry standard = default_geometry();
    const u64 by_chs = u64{geometry_.cylinders} * geometry_.heads * geometry_.sectors;
    IdentifyWords words;
    words[0] = 0x0040;  // fixed disk
    words[1] = standard.cylinders;
    words[3] = standard.heads;
    words[6] = standard.sectors;
    words.text(10, 10, "DUALVM" + std::to_string(number_ + 1));
    words.text(23, 4, "1.0");
    words.text(27, 20, "DUALVM HARDDISK");
    words[47] = 0x8000 | kMostSectorsInBlock;
    words[48] = 1;       // 32-bit data register
    words[49] = 0x0b00;  // IORDY, LBA, DMA
    words[50] = 0x4000;
    words[51] = words[52] = 0x0200;
    words[53] = 7;  // words 54-58, 64-70 and 88 are valid
    words[54] = geometry_.cylinders;
    words[55] = geometry_.heads;
    words[56] = geometry_.sectors;
    words.dword(57, static_cast<u32>(std::min<u64>(by_chs, 0xffffffff)));
    words[59] = multiple_ != 0 ? static_cast<u16>(0x100 | multiple_) : u16{0};
    words.dword(60, static_cast<u32>(std::min<u64>(size, 0x0fffffff)));
    words[63] = dma_modes(transfer_mode_, 0x20, 0x07);
    words[64] = 3;  // PIO modes 3 and 4
    for (unsigned i = 65; i <= 68; ++i) words[i] = 120;
    words[80] = 0x007e;  // ATA-1 to ATA/ATAPI-6
    words[82] = 0x0060;  // write cache, look-ahead
    words[83] = 0x7400;  // FLUSH CACHE (EXT), 48-bit addresses
    words[84] = 0x4000;
    words[85] = write_cache_ ? 0x0060 : 0x0040;
    words[86] = 0x3400;
    words[87] = 0x4000;
    words[88] = dma_modes(transfer_mode_, 0x40, 0x3f);
    words[93] = 0x6001;  // hardware reset: 80-conductor cable, device 0
    for (unsigned i = 0; i < 4; ++i) words[100 + i] = static_cast<u16>(size >> (16 * i));
    run_ = {};
    buffer_ = words.bytes();
    start(Transfer::PioIn, buffer_.size());
    request_interrupt();
}

}  // namespace dualvm::devices
