#include "file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "dualvm/storage/file.h"

namespace dualvm::storage {

namespace {

// QEMU gives each thing that a user of a file may do a number, and each number two bytes: a lock on the first says "I
// do this", on the second "nobody else may". The locks are all shared ones, and looked for, so nobody ever waits.
constexpr off_t kDoing = 100;
constexpr off_t kForbidding = 200;
constexpr off_t kRead = 0, kWrite = 1, kResize = 3;
constexpr off_t kForbidden[] = {kWrite, kResize};  // by readers and writers alike

struct flock one_byte(short type, off_t at) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    return lock;
}

Expected<void> take(int fd, off_t at, const std::string& name) {
    // Open-file-description locks: closing another descriptor of the same file, somewhere in the process, does not drop
    // them as it would drop POSIX ones.
    struct flock lock = one_byte(F_RDLCK, at);
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
    return fail(ExitStatus::BadImage,
                fmt::format("cannot lock {}: {}; an image must lie on a file system that has locks", name,
                            std::strerror(errno)));
}

Expected<bool> held_by_another(int fd, off_t at, const std::string& name) {
    struct flock lock = one_byte(F_WRLCK, at);
    if (fcntl(fd, F_OFD_GETLK, &lock) == 0) return lock.l_type != F_UNLCK;
    return fail(ExitStatus::BadImage, fmt::format("cannot look for locks on {}: {}", name, std::strerror(errno)));
}

using List = std::vector<off_t>;

List doing(bool writable) { return writable ? List{kRead, kWrite, kResize} : List{kRead}; }

// Whether somebody's lock keeps a reader or writer away.
Expected<bool> kept_away(int fd, bool writable, const std::string& name) {
    List others;
    for (const off_t what : doing(writable)) others.push_back(kForbidding + what);
    for (const off_t what : kForbidden) others.push_back(kDoing + what);
    for (const off_t at : others) {
        const auto held = held_by_another(fd, at, name);
        if (!held || *held) return held;
    }
    return false;
}

tl::unexpected<Error> in_use(bool writable, const std::string& name) {
    return fail(ExitStatus::BadImage,
                fmt::format("{} is in use by another program (dualvm or QEMU){}, or named twice; end that one first",
                            name, writable ? "" : ", which writes to it"));
}

}  // namespace

Expected<void> lock_file(int fd, bool writable, const std::string& name) {
    // First say what one does, then look round: of two that come at once, one at least sees the other.
    List own;
    for (const off_t what : doing(writable)) own.push_back(kDoing + what);
    for (const off_t what : kForbidden) own.push_back(kForbidding + what);
    for (const off_t at : own) {
        if (auto taken = take(fd, at, name); !taken) return taken;
    }
    const auto away = kept_away(fd, writable, name);
    if (!away) return tl::unexpected(away.error());
    if (*away) return in_use(writable, name);
    return {};
}

Expected<void> check_unused(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return {};
    const auto away = kept_away(fd, /*writable=*/true, path);
    close(fd);
    // Where there are no locks nobody has one.
    if (away && *away) return in_use(/*writable=*/true, path);
    return {};
}

}  // namespace dualvm::storage
