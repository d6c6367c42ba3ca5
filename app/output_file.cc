#include "output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "dualvm/storage/file.h"
#include "messages.h"

namespace dualvm::app {

namespace {

namespace fs = std::filesystem;

// What the files are called that are not whole yet, for a process that ends without destructors.
constexpr std::size_t kMostAtOnce = 16;
std::array<std::atomic<const char*>, kMostAtOnce> unfinished{};
static_assert(std::atomic<const char*>::is_always_lock_free);

void note_unfinished(const char* name) {
    for (auto& place : unfinished) {
        const char* free = nullptr;
        if (place.compare_exchange_strong(free, name)) return;
    }
}

void forget_unfinished(const char* name) {
    for (auto& place : unfinished) {
        const char* noted = name;
        place.compare_exchange_strong(noted, nullptr);
    }
}

tl::unexpected<Error> cannot_write(const std::string& path, int error) {
    if (error == EINTR) return fail(ExitStatus::Limit, fmt::format("interrupted while writing to {}", path));
    return fail(ExitStatus::BadImage,
                fmt::format("cannot write {}: {}; name a file in a folder that you may write to, with space left", path,
                            std::strerror(error)));
}

mode_t usual_mode() {
    const mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

// Where links lead, to a file that need not be there: renaming must not replace a link.
std::string behind_links(const std::string& path) {
    constexpr unsigned kMostLinks = 40;
    std::error_code error;
    if (const fs::path real = fs::canonical(path, error); !error) return real.string();
    fs::path at = path;
    for (unsigned i = 0; i < kMostLinks && fs::is_symlink(at, error); ++i) {
        at = at.parent_path() / fs::read_symlink(at, error);
    }
    return at.string();
}

}  // namespace

std::optional<int> open_stream_at(const std::string& path) {
    for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
        int fd = -1;
        const char* const end = path.data() + path.size();
        if (!path.starts_with(folder)) continue;
        const auto [rest, error] = std::from_chars(path.data() + folder.size(), end, fd);
        if (error == std::errc{} && rest == end && fcntl(fd, F_GETFD) >= 0) return fd;
    }
    struct stat named {};
    if (stat(path.c_str(), &named) != 0) return std::nullopt;
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
        struct stat status {};
        if (fstat(fd, &status) == 0 && status.st_dev == named.st_dev && status.st_ino == named.st_ino) return fd;
    }
    return std::nullopt;
}

void remove_unfinished_files() {
    for (auto& place : unfinished) {
        if (const char* name = place.exchange(nullptr)) unlink(name);
    }
}

Expected<OutputFile> OutputFile::create(const std::string& path) {
    OutputFile file;
    file.path_ = path;
    if (const auto stream = open_stream_at(path)) {
        file.fd_ = fcntl(*stream, F_DUPFD_CLOEXEC, 0);
        if (file.fd_ < 0) return cannot_write(path, errno);
        return file;
    }
    file.target_ = behind_links(path);

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
        if (auto unused = storage::check_unused(file.target_); !unused) return tl::unexpected(unused.error());
        mode = status.st_mode & 0777;
    }
    auto name = std::make_unique<std::string>(file.target_ + ".XXXXXX");
    file.fd_ = mkostemp(name->data(), O_CLOEXEC);
    if (file.fd_ < 0) return cannot_write(path, errno);
    note_unfinished(name->c_str());
    file.temporary_ = std::move(name);
    if (fchmod(file.fd_, mode) != 0) return cannot_write(path, errno);
    return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      error_(other.error_) {}

OutputFile::~OutputFile() {
    if (fd_ >= 0) close(fd_);
    if (temporary_ == nullptr) return;
    unlink(temporary_->c_str());
    forget_unfinished(temporary_->c_str());
}

bool OutputFile::write(std::string_view text) {
    if (error_ == 0) error_ = write_all(fd_, text);
    return error_ == 0;
}

Expected<void> OutputFile::commit() {
    if (close(std::exchange(fd_, -1)) != 0 && error_ == 0) error_ = errno;
    if (error_ == 0 && temporary_ != nullptr) {
        // Again: what the run itself has opened since.
        if (auto unused = storage::check_unused(target_); !unused) return unused;
        if (rename(temporary_->c_str(), target_.c_str()) != 0) {
            error_ = errno;
        } else {
            forget_unfinished(temporary_->c_str());
            temporary_.reset();
        }
    }
    if (error_ != 0) return cannot_write(path_, error_);
    return {};
}

}  // namespace dualvm::app
