// What ATA disks and ATAPI drives have in common (ATA/ATAPI-6, T13/1410D): the task file, the DRQ data transfer through
// the data register or by DMA, the interrupt request, and how commands end.
//
// A command is done when the guest's write to the command register returns: BSY is seen during SRST alone. See
// docs/decisions/0018-ide-commands-complete-at-once.md.
#pragma once

#include <span>
#include <vector>

#include "dualvm/archive.h"
#include "dualvm/disk.h"

namespace dualvm::devices {

namespace ata {
// Status register.
enum : u8 { kError = 0x01, kDataRequest = 0x08, kSeekComplete = 0x10, kFault = 0x20, kReady = 0x40, kBusy = 0x80 };
// Error register.
enum : u8 { kAborted = 0x04, kIdNotFound = 0x10, kUncorrectable = 0x40, kWriteProtected = 0x40 };
// Device register.
enum : u8 { kSecondDevice = 0x10, kLba = 0x40 };
// Registers of the command block, by offset.
enum : unsigned { kData, kFeatures, kCount, kLow, kMid, kHigh, kDevice, kCommand };
inline constexpr unsigned kErrorRegister = kFeatures, kStatus = kCommand;
}  // namespace ata

// A register two bytes deep: 48-bit commands use the value before the last one, too.
struct TwoDeep {
    u8 now = 0, before = 0;
    void push(u8 value) {
        before = now;
        now = value;
    }
    void set(u8 value) { *this = {value, 0}; }
    u16 both() const { return static_cast<u16>(before << 8 | now); }
};

class IdeDrive {
public:
    enum class Transfer : u8 { None, PioIn, PioOut, DmaIn, DmaOut };  // In: to the guest
    static constexpr std::size_t kLargestBuffer = 64 * 1024;

    virtual ~IdeDrive() = default;
    IdeDrive(const IdeDrive&) = delete;
    IdeDrive& operator=(const IdeDrive&) = delete;

    // Registers of the command block, but for data and command. `before` (HOB) shows the older byte.
    u8 read_register(unsigned reg, bool before) const;
    void write_register(unsigned reg, u8 value);
    u8 status() const { return status_; }
    virtual void execute(u8 command) = 0;
    // Power on, SRST, or EXECUTE DEVICE DIAGNOSTIC: whatever goes on ends, and the registers say what this is (9.12).
    virtual void reset_drive(bool power_on) = 0;

    bool interrupt() const { return interrupt_; }
    void clear_interrupt() { interrupt_ = false; }

    Transfer transfer() const { return transfer_; }
    bool wants_dma() const { return transfer_ == Transfer::DmaIn || transfer_ == Transfer::DmaOut; }
    // What is left to move before the drive has to be asked again: to be read or written, and then moved(n).
    std::span<u8> window();
    void moved(std::size_t bytes);
    // The controller could not reach memory.
    void dma_failed();

    virtual void save(ArchiveWriter& out) const;
    virtual void load(ArchiveReader& in);

protected:
    IdeDrive() = default;

    // The whole window has been moved: to go on with start(), or end the command.
    virtual void window_done() = 0;

    // `bytes` of buffer_, from its beginning, are to be moved.
    void start(Transfer kind, std::size_t bytes);
    // The same for bytes of buffer_ behind those moved last.
    void go_on(std::size_t bytes);
    void request_interrupt() { interrupt_ = true; }
    // Ends the command, well or with bits for the error register; the interrupt is requested.
    void succeed();
    void fail(u8 error);
    void stop_transfer();
    void set_signature(u8 mid, u8 high);

    u8 status_ = 0, error_ = 0, device_ = 0;
    TwoDeep features_, count_, low_, mid_, high_;
    std::vector<u8> buffer_;

private:
    std::size_t at_ = 0, end_ = 0;  // the window in buffer_
    Transfer transfer_ = Transfer::None;
    bool interrupt_ = false;
};

}  // namespace dualvm::devices
