#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "dualvm/storage/file.h"
#include "file_lock.h"

namespace dualvm::storage {

namespace {

tl::unexpected<Error> failed(std::string_view what, const std::string& name, int error) {
    const char* advice = error == ENOSPC || error == EDQUOT ? "; make space on that disk"
                         : error == EFBIG  ? "; it may not grow any more (ulimit -f, or the file system)"
                         : error == ENOENT ? "; check the path"
                         : error == EACCES ? "; you need the permission"
                         : error == EROFS  ? "; its file system is read-only"
                                           : "";
    return fail(ExitStatus::BadImage, fmt::format("cannot {} {}: {}{}", what, name, std::strerror(error), advice));
}

// Offsets are signed 64-bit numbers to the host.
bool beyond_the_host(u64 offset, u64 length) {
    constexpr u64 kLargest = std::numeric_limits<off_t>::max();
    return length > kLargest || offset > kLargest - length;
}

}  // namespace

Expected<std::unique_ptr<HostFile>> HostFile::open(const std::string& path, Mode mode) {
    // Non-blocking, so that a pipe that nobody writes to does not hang us; files don't care.
    const int fd = ::open(path.c_str(), (mode.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return failed(mode.writable ? "open for writing" : "open", path, errno);
    auto file = adopt(fd, path);
    struct stat status {};
    if (fstat(fd, &status) != 0) return failed("look at", path, errno);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
        return fail(ExitStatus::BadImage, fmt::format("{} is neither a file nor a disk: an image must be one", path));
    }
    if (mode.locked) {
        if (auto locked = lock_file(fd, mode.writable, path); !locked) return tl::unexpected(locked.error());
    }
    return file;
}

std::unique_ptr<HostFile> HostFile::adopt(int fd, std::string name) {
    return std::unique_ptr<HostFile>(new HostFile(fd, std::move(name)));
}

HostFile::~HostFile() { close(fd_); }

Expected<u64> HostFile::size() {
    const off_t end = lseek(fd_, 0, SEEK_END);  // also true of block devices, unlike what fstat() says
    if (end < 0) return failed("find the size of", name_, errno);
    return static_cast<u64>(end);
}

Expected<void> HostFile::read(u64 offset, std::span<u8> to) {
    if (beyond_the_host(offset, to.size())) return failed("read", name_, EINVAL);
    while (!to.empty()) {
        const ssize_t n = pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed("read", name_, errno);
        if (n == 0) {
            std::fill(to.begin(), to.end(), u8{0});
            break;
        }
        to = to.subspan(static_cast<std::size_t>(n));
        offset += static_cast<u64>(n);
    }
    return {};
}

Expected<void> HostFile::write(u64 offset, std::span<const u8> from) {
    if (beyond_the_host(offset, from.size())) return failed("write", name_, EFBIG);
    while (!from.empty()) {
        const ssize_t n = pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return failed("write", name_, n == 0 ? ENOSPC : errno);
        from = from.subspan(static_cast<std::size_t>(n));
        offset += static_cast<u64>(n);
    }
    return {};
}

Expected<void> HostFile::resize(u64 bytes) {
    if (beyond_the_host(0, bytes)) return failed("resize", name_, EFBIG);
    while (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) {
        if (errno != EINTR) return failed("resize", name_, errno);
    }
    return {};
}

Expected<void> HostFile::sync() {
    if (fsync(fd_) != 0) return failed("write to the disk (fsync)", name_, errno);
    return {};
}

Expected<Extent> HostFile::extent(u64 offset) {
    const auto end = size();
    if (!end) return tl::unexpected(end.error());
    if (offset >= *end) return Extent{};
    const auto from = static_cast<off_t>(offset);
    const off_t data = lseek(fd_, from, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return Extent{*end - offset, true};  // a hole up to the end
    if (data > from) return Extent{static_cast<u64>(data - from), true};
    const off_t hole = data < 0 ? -1 : lseek(fd_, from, SEEK_HOLE);
    // A file system that knows no holes: all of it is data.
    if (hole <= from) return Extent{*end - offset, false};
    return Extent{std::min(static_cast<u64>(hole), *end) - offset, false};
}

Expected<u64> HostFile::allocated_bytes() const {
    struct stat status {};
    if (fstat(fd_, &status) != 0) return failed("look at", name_, errno);
    return static_cast<u64>(status.st_blocks) * 512;  // st_blocks counts these, whatever st_blksize is
}

}  // namespace dualvm::storage
