#include "image_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dualvm::boot {

namespace {

class FileDescriptor {
public:
    explicit FileDescriptor(int fd) : fd_(fd) {}
    ~FileDescriptor() {
        if (fd_ >= 0) close(fd_);
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    int get() const { return fd_; }

private:
    int fd_;
};

tl::unexpected<Error> unreadable(const std::string& path, const char* what, std::string_view why) {
    return fail(ExitStatus::BadImage, fmt::format("cannot read {} '{}': {}", what, path, why));
}

}  // namespace

Expected<std::vector<u8>> read_image_file(const std::string& path, const char* what, u64 limit) {
    // Non-blocking, so that opening a pipe that nobody writes to does not hang.
    const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) {
        const char* advice = errno == ENOENT   ? "; check the path"
                             : errno == EACCES ? "; you need permission to read it"
                                               : "";
        return unreadable(path, what, fmt::format("{}{}", std::strerror(errno), advice));
    }
    struct stat status {};
    if (fstat(file.get(), &status) != 0) return unreadable(path, what, std::strerror(errno));
    if (S_ISDIR(status.st_mode)) return unreadable(path, what, "it is a directory; name a file in it");
    if (!S_ISREG(status.st_mode)) return unreadable(path, what, "it is not a regular file; copy it into one");
    const auto size = static_cast<u64>(status.st_size);
    if (size == 0) return unreadable(path, what, "it is empty; build or download it again");
    if (size > limit) {
        return unreadable(
            path, what,
            fmt::format("it has {} bytes and at most {} can be loaded; give the guest more memory (-m) or "
                        "take a smaller file",
                        size, limit));
    }
    std::vector<u8> bytes(size);
    for (u64 done = 0; done < size;) {
        const ssize_t n = read(file.get(), bytes.data() + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return unreadable(path, what, std::strerror(errno));
        if (n == 0) return unreadable(path, what, "it shrank while it was read; try again");
        done += static_cast<u64>(n);
    }
    return bytes;
}

}  // namespace dualvm::boot
