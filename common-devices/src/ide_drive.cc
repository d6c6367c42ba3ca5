#include "dualvm/devices/ide_drive.h"

namespace dualvm::devices {

u8 IdeDrive::read_register(unsigned reg, bool before) const {
    const auto shown = [before](const TwoDeep& r) { return before ? r.before : r.now; };
    switch (reg) {
        case ata::kErrorRegister: return error_;
        case ata::kCount: return shown(count_);
        case ata::kLow: return shown(low_);
        case ata::kMid: return shown(mid_);
        case ata::kHigh: return shown(high_);
        case ata::kDevice: return device_ | 0xa0;  // bits that were always set in older standards
        default: return status_;
    }
}

void IdeDrive::write_register(unsigned reg, u8 value) {
    switch (reg) {
        case ata::kFeatures: features_.push(value); break;
        case ata::kCount: count_.push(value); break;
        case ata::kLow: low_.push(value); break;
        case ata::kMid: mid_.push(value); break;
        case ata::kHigh: high_.push(value); break;
        case ata::kDevice: device_ = value; break;
        default: break;
    }
}

std::span<u8> IdeDrive::window() {
    if (transfer_ == Transfer::None) return {};
    return std::span(buffer_).subspan(at_, end_ - at_);
}

void IdeDrive::moved(std::size_t bytes) {
    at_ += bytes;
    if (at_ < end_) return;
    window_done();
}

void IdeDrive::start(Transfer kind, std::size_t bytes) {
    transfer_ = kind;
    at_ = end_ = 0;
    go_on(bytes);
}

void IdeDrive::go_on(std::size_t bytes) {
    end_ = at_ + bytes;
    status_ = ata::kReady | ata::kSeekComplete | ata::kDataRequest;
}

void IdeDrive::stop_transfer() {
    transfer_ = Transfer::None;
    at_ = end_ = 0;
}

void IdeDrive::succeed() {
    stop_transfer();
    status_ = ata::kReady | ata::kSeekComplete;
    error_ = 0;
    request_interrupt();
}

void IdeDrive::fail(u8 error) {
    stop_transfer();
    status_ = ata::kReady | ata::kSeekComplete | ata::kError;
    error_ = error;
    request_interrupt();
}

void IdeDrive::dma_failed() { fail(ata::kAborted); }

void IdeDrive::set_signature(u8 mid, u8 high) {
    stop_transfer();
    interrupt_ = false;
    error_ = 1;  // diagnostics passed
    device_ = 0;
    count_.set(1);
    low_.set(1);
    mid_.set(mid);
    high_.set(high);
}

void IdeDrive::save(ArchiveWriter& out) const {
    out.tag("IDED", 2);
    for (u8 v : {status_, error_, device_}) out.put(v);
    for (const TwoDeep* r : {&features_, &count_, &low_, &mid_, &high_}) {
        out.put(r->now);
        out.put(r->before);
    }
    out.put(static_cast<u32>(buffer_.size()));
    out.put_bytes(buffer_.data(), buffer_.size());
    out.put(static_cast<u32>(at_));
    out.put(static_cast<u32>(end_));
    out.put(static_cast<u8>(transfer_));
    out.put(static_cast<u8>(interrupt_));
}

void IdeDrive::load(ArchiveReader& in) {
    in.expect("IDED", 2);
    for (u8* v : {&status_, &error_, &device_}) in.get(*v);
    for (TwoDeep* r : {&features_, &count_, &low_, &mid_, &high_}) {
        in.get(r->now);
        in.get(r->before);
    }
    const u32 size = in.get<u32>();
    if (size > kLargestBuffer) in.set_bad();
    buffer_.assign(in.ok() ? size : 0, 0);
    if (!buffer_.empty()) in.get_bytes(buffer_.data(), buffer_.size());
    at_ = in.get<u32>();
    end_ = in.get<u32>();
    const u8 transfer = in.get<u8>();
    interrupt_ = in.get<u8>() != 0;
    transfer_ = static_cast<Transfer>(transfer);
    const bool moving = transfer_ != Transfer::None;
    if (transfer > static_cast<u8>(Transfer::DmaOut) || end_ > buffer_.size() || at_ > end_ ||
        (moving && at_ == end_)) {
        in.set_bad();
    }
    if (!in.ok()) reset_drive(true);
}

}  // namespace dualvm::devices
