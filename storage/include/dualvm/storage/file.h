// The file that an image lies in, as numbered bytes: one on the host, one in memory (tests, fuzzers), or one that
// breaks when it is told to (tests).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::storage {

// From some offset on, so many bytes of one kind.
struct Extent {
    u64 length = 0;
    bool zero = false;  // known to read as zeros; else there is data, zeros perhaps
};

class File {
public:
    virtual ~File() = default;

    virtual const std::string& name() const = 0;
    virtual Expected<u64> size() = 0;
    // Past the end there are zeros.
    virtual Expected<void> read(u64 offset, std::span<u8> to) = 0;
    // All or, with an error, an unknown part of it.
    virtual Expected<void> write(u64 offset, std::span<const u8> from) = 0;
    virtual Expected<void> resize(u64 bytes) = 0;
    // When it returns, what was written before survives a crash of the host.
    virtual Expected<void> sync() = 0;
    // Of offsets before the end; `offset` + length is never past it.
    virtual Expected<Extent> extent(u64 offset) = 0;

protected:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
};

// A file or block device of the host.
class HostFile final : public File {
public:
    struct Mode {
        bool writable = false;
        // Others that write to it, and for a writer others that read it, are kept away: see file_lock.h.
        bool locked = true;
    };
    static Expected<std::unique_ptr<HostFile>> open(const std::string& path, Mode mode);
    // A file that is open already; the descriptor becomes the HostFile's.
    static std::unique_ptr<HostFile> adopt(int fd, std::string name);
    ~HostFile() override;

    const std::string& name() const override { return name_; }
    Expected<u64> size() override;
    Expected<void> read(u64 offset, std::span<u8> to) override;
    Expected<void> write(u64 offset, std::span<const u8> from) override;
    Expected<void> resize(u64 bytes) override;
    Expected<void> sync() override;
    Expected<Extent> extent(u64 offset) override;
    // What it takes of the disk it lies on: less than its size if it has holes.
    Expected<u64> allocated_bytes() const;

private:
    HostFile(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
    int fd_;
    std::string name_;
};

// An error if the file at `path` is an image that a dualvm or QEMU has open: who replaces a file asks before.
Expected<void> check_unused(const std::string& path);

// Bytes in memory; growing past `limit` fails as a full disk does.
class MemoryFile final : public File {
public:
    explicit MemoryFile(std::vector<u8> bytes = {}, u64 limit = u64{1} << 30, std::string name = "memory")
        : bytes_(std::move(bytes)), limit_(limit), name_(std::move(name)) {}

    const std::string& name() const override { return name_; }
    Expected<u64> size() override { return bytes_.size(); }
    Expected<void> read(u64 offset, std::span<u8> to) override;
    Expected<void> write(u64 offset, std::span<const u8> from) override;
    Expected<void> resize(u64 bytes) override;
    Expected<void> sync() override { return {}; }
    Expected<Extent> extent(u64 offset) override;
    const std::vector<u8>& bytes() const { return bytes_; }

private:
    std::vector<u8> bytes_;
    u64 limit_;
    std::string name_;
};

}  // namespace dualvm::storage
