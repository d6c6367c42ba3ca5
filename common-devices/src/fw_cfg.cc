#include "dualvm/devices/fw_cfg.h"

#include <algorithm>
#include <bit>

namespace dualvm::devices {

namespace {

constexpr std::size_t kFileNameSize = 56;                 // with the 0 byte at its end
constexpr u32 kTraditional = 1u << 0, kHasDma = 1u << 1;  // Key::Id
constexpr u64 kDmaSignature = 0x51454d5520434647;         // "QEMU CFG", what the DMA register reads as

// DMA control ("FWCfgDmaAccess"); all fields of a descriptor are big-endian.
constexpr u32 kError = 1, kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16;
constexpr u64 kDescriptorSize = 16;

template <class T>
T big_endian(const u8* from) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | from[i]);
    return value;
}

template <class T>
void append_big_endian(std::vector<u8>& to, T value) {
    for (std::size_t i = sizeof(T); i-- > 0;) to.push_back(static_cast<u8>(value >> (8 * i)));
}

}  // namespace

FwCfg::FwCfg(Machine& machine) : machine_(machine) {
    add(Signature, {'Q', 'E', 'M', 'U'});
    add_number(Id, kTraditional | kHasDma);
    add_number(RamSize, machine.vmem().ram_size());
    add_number(Processors, static_cast<u16>(machine.cpu_count()));
    add_number(MostProcessors, static_cast<u16>(machine.cpu_count()));
    add(FileDirectory, directory());
}

std::vector<u8> FwCfg::directory() const {
    std::vector<u8> bytes;
    append_big_endian(bytes, static_cast<u32>(files_.size()));
    for (const File& file : files_) {
        append_big_endian(bytes, static_cast<u32>(items_.at(file.key).size()));
        append_big_endian(bytes, file.key);
        append_big_endian(bytes, u16{0});
        std::vector<u8> name(file.name.begin(), file.name.end());
        name.resize(kFileNameSize);
        bytes.insert(bytes.end(), name.begin(), name.end());
    }
    return bytes;
}

void FwCfg::add_file(const std::string& name, std::vector<u8> bytes) {
    const auto known = std::find_if(files_.begin(), files_.end(), [&](const File& f) { return f.name == name; });
    const u16 key = known != files_.end() ? known->key : static_cast<u16>(FirstFile + files_.size());
    if (known == files_.end()) files_.push_back({name.substr(0, kFileNameSize - 1), key});
    add(key, std::move(bytes));
    add(FileDirectory, directory());
}

void FwCfg::select(u16 key) {
    selected_ = key;
    position_ = 0;
}

// Behind the end of an item, and of items that are not there, come zeros.
u8 FwCfg::next_byte() {
    const auto item = items_.find(selected_);
    const u64 at = position_++;
    return item != items_.end() && at < item->second.size() ? item->second[at] : u8{0};
}

u64 FwCfg::read(u64 offset, unsigned size) {
    if (offset == kData && size == 1) return next_byte();
    if (offset >= kDma && size <= 4) {  // big-endian, like what is written there
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i) {
            value |= (kDmaSignature >> (8 * (7 - ((offset - kDma + i) & 7))) & 0xff) << (8 * i);
        }
        return value;
    }
    return 0;
}

// The address of a DMA descriptor is written big-endian, upper half first; the lower half starts it.
void FwCfg::write(u64 offset, unsigned size, u64 value) {
    if (offset == kSelector && size == 2) select(static_cast<u16>(value));
    if (size != 4) return;
    const u32 half = __builtin_bswap32(static_cast<u32>(value));
    if (offset == kDma) dma_high_ = half;
    if (offset == kDma + 4) {
        const u64 descriptor = u64{dma_high_} << 32 | half;
        dma_high_ = 0;
        run_dma(descriptor);
    }
}

// What does not lie in the guest's RAM is not touched, and the descriptor says so if it lies there itself.
void FwCfg::run_dma(u64 address) {
    VMem& memory = machine_.vmem();
    std::array<u8, kDescriptorSize> descriptor{};
    if (!memory.read(address, descriptor.data(), descriptor.size())) return;
    const auto control = big_endian<u32>(descriptor.data());
    const auto length = big_endian<u32>(descriptor.data() + 4);
    if ((control & kSelect) != 0) select(static_cast<u16>(control >> 16));
    u32 result = 0;
    if ((control & kRead) != 0) {
        if (!copy_to_guest(big_endian<u64>(descriptor.data() + 8), length)) result = kError;
    } else if ((control & kWrite) != 0) {
        result = kError;  // nothing here can be written
    } else if ((control & kSkip) != 0) {
        position_ += length;
    }
    memory.write_value(address, __builtin_bswap32(result));
}

bool FwCfg::copy_to_guest(u64 address, u32 length) {
    VMem& memory = machine_.vmem();
    const auto item = items_.find(selected_);
    const u64 size = item == items_.end() ? 0 : item->second.size();
    const u64 from = std::min(position_, size);
    const u64 data = std::min<u64>(length, size - from), zeros = length - data;
    position_ += length;
    if (address + length < address) return false;
    // The zeros first: a length beyond the end of memory is then refused before anything has been moved.
    if (zeros != 0 && !memory.fill(address + data, 0, zeros)) return false;
    return data == 0 || memory.write(address, item->second.data() + from, data);
}

void FwCfg::reset() {
    select(0);
    dma_high_ = 0;
}

// The items are the machine's configuration, not its state.
void FwCfg::save(ArchiveWriter& out) const {
    out.tag("FWCF", 1);
    out.put(selected_);
    out.put(position_);
    out.put(dma_high_);
}

void FwCfg::load(ArchiveReader& in) {
    in.expect("FWCF", 1);
    in.get(selected_);
    in.get(position_);
    in.get(dma_high_);
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
