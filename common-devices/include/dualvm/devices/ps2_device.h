// What is at the other end of a PS/2 cable, as the 8042 sees it: something that takes bytes and has bytes to send (IBM
// PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device controller").
#pragma once

#include <algorithm>
#include <array>
#include <functional>

#include "dualvm/vio.h"

namespace dualvm::devices {

// A short queue of bytes.
template <std::size_t kCapacity>
class ByteQueue {
public:
    std::size_t size() const { return count_; }
    std::size_t room() const { return kCapacity - count_; }
    bool empty() const { return count_ == 0; }
    void clear() { count_ = 0; }
    // False, and nothing is done, if it is full.
    bool push(u8 byte) {
        if (count_ == kCapacity) return false;
        bytes_[count_++] = byte;
        return true;
    }
    // The oldest byte; the queue must not be empty.
    u8 pop() {
        const u8 first = bytes_[0];
        std::copy(bytes_.begin() + 1, bytes_.begin() + count_, bytes_.begin());
        --count_;
        return first;
    }
    void save(ArchiveWriter& out) const {
        out.put(count_);
        out.put_bytes(bytes_.data(), count_);
    }
    void load(ArchiveReader& in) {
        count_ = in.get<u8>();
        if (count_ > kCapacity) {
            count_ = 0;
            in.set_bad();
        }
        in.get_bytes(bytes_.data(), count_);
    }

private:
    std::array<u8, kCapacity> bytes_{};
    u8 count_ = 0;
};

class Ps2Device {
public:
    virtual ~Ps2Device() = default;
    Ps2Device() = default;
    Ps2Device(const Ps2Device&) = delete;
    Ps2Device& operator=(const Ps2Device&) = delete;

    // A byte from the system.
    void receive(u8 byte) {
        ++received_;
        take(byte);
    }
    // How many there were: whoever presses keys sees by it that the guest is still setting the device up.
    u64 received() const { return received_; }

    // Answers to commands, which go before what the device has to say by itself.
    bool has_answers() const { return !answers_.empty(); }
    bool has_data() const { return !data_.empty(); }
    // The next byte for the system; there must be one.
    u8 send() { return last_sent_ = has_answers() ? answers_.pop() : data_.pop(); }
    // Called when there is something new to send.
    void on_output(std::function<void()> callback) { on_output_ = std::move(callback); }

    virtual void reset() = 0;
    virtual void save(ArchiveWriter& out) const = 0;
    virtual void load(ArchiveReader& in) = 0;

protected:
    enum : u8 { kAcknowledge = 0xfa, kTestPassed = 0xaa, kResend = 0xfe };
    static constexpr std::size_t kQueue = 16;

    virtual void take(u8 byte) = 0;
    // A guest that asks and asks without reading loses what no longer fits.
    void answer(u8 byte) { answers_.push(byte); }
    void tell() {
        if (on_output_) on_output_();
    }
    void clear_output() {
        answers_.clear();
        data_.clear();
        last_sent_ = 0;
    }
    void save_output(ArchiveWriter& out) const {
        answers_.save(out);
        data_.save(out);
        out.put(last_sent_);
    }
    void load_output(ArchiveReader& in) {
        answers_.load(in);
        data_.load(in);
        in.get(last_sent_);
    }

    ByteQueue<kQueue> answers_;
    ByteQueue<kQueue + 1> data_;  // one more, for a keyboard's overrun code
    u8 last_sent_ = 0;

private:
    std::function<void()> on_output_;
    u64 received_ = 0;
};

}  // namespace dualvm::devices
