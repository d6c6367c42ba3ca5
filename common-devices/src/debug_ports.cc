#include "dualvm/devices/debug_ports.h"

namespace dualvm::devices {

void DebugExit::write(u64, unsigned, u64 value) {
    machine_.request({.kind = RequestKind::DebugExit, .debug_exit_value = static_cast<u8>(value)});
}

void DebugConsole::write(u64, unsigned size, u64 value) {
    if (!output_) return;
    for (unsigned i = 0; i < size; ++i) output_(static_cast<u8>(value >> (8 * i)));
}

void PostCode::reset() {
    codes_ = {};
    written_ = 0;
}

std::vector<u8> PostCode::codes() const {
    std::vector<u8> kept;
    for (u64 i = written_ > kKept ? written_ - kKept : 0; i < written_; ++i) kept.push_back(codes_[i % kKept]);
    return kept;
}

void PostCode::save(ArchiveWriter& out) const {
    out.tag("POST", 1);
    out.put_bytes(codes_.data(), codes_.size());
    out.put(written_);
}

void PostCode::load(ArchiveReader& in) {
    in.expect("POST", 1);
    in.get_bytes(codes_.data(), codes_.size());
    in.get(written_);
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices
