#include "output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace dualvm::app {

namespace {

tl::unexpected<Error> cannot_write(const std::string& path, int error) {
    return fail(ExitStatus::BadImage,
                fmt::format("cannot write {}: {}; name a file in a folder that you may write to, with space left", path,
                            std::strerror(error)));
}

mode_t usual_mode() {
    const mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

}  // namespace

Expected<OutputFile> OutputFile::create(const std::string& path) {
    OutputFile file;
    file.path_ = path;
    std::error_code ignored;
    const auto real = std::filesystem::canonical(path, ignored);  // renaming must not replace a link
    file.target_ = real.empty() ? path : real.string();

    mode_t mode = usual_mode();
    struct stat status {};
    if (stat(file.target_.c_str(), &status) == 0) {
        if (S_ISDIR(status.st_mode)) return cannot_write(path, EISDIR);
        if (access(file.target_.c_str(), W_OK) != 0) return cannot_write(path, errno);
        if (!S_ISREG(status.st_mode)) {
            file.fd_ = open(file.target_.c_str(), O_WRONLY | O_CLOEXEC);
            if (file.fd_ < 0) return cannot_write(path, errno);
            return file;
        }
        mode = status.st_mode & 0777;
    }
    std::string name = file.target_ + ".XXXXXX";
    file.fd_ = mkostemp(name.data(), O_CLOEXEC);
    if (file.fd_ < 0) return cannot_write(path, errno);
    file.temporary_ = std::move(name);
    if (fchmod(file.fd_, mode) != 0) return cannot_write(path, errno);
    return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)),
      error_(other.error_) {}

OutputFile::~OutputFile() {
    if (fd_ >= 0) close(fd_);
    if (!temporary_.empty()) unlink(temporary_.c_str());
}

bool OutputFile::write(std::string_view text) {
    while (!text.empty() && error_ == 0) {
        const ssize_t n = ::write(fd_, text.data(), text.size());
        if (n >= 0) {
            text.remove_prefix(static_cast<std::size_t>(n));
        } else if (errno != EINTR) {
            error_ = errno;
        }
    }
    return error_ == 0;
}

Expected<void> OutputFile::commit() {
    if (close(std::exchange(fd_, -1)) != 0 && error_ == 0) error_ = errno;
    if (error_ == 0 && !temporary_.empty()) {
        if (rename(temporary_.c_str(), target_.c_str()) != 0) {
            error_ = errno;
        } else {
            temporary_.clear();
        }
    }
    if (error_ != 0) return cannot_write(path_, error_);
    return {};
}

}  // namespace dualvm::app
