// A file that is written whole or not at all: it gets its name when all of it is there.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dualvm/types.h"

namespace dualvm::app {

class OutputFile {
public:
    // Opens it for writing, so that one that can't be written is known before any work is done. What goes by that name
    // now stays until commit(). Devices, pipes and streams that are open are written to directly. An image that
    // somebody has open is refused.
    static Expected<OutputFile> create(const std::string& path);
    ~OutputFile();
    OutputFile(OutputFile&& other) noexcept;
    OutputFile& operator=(OutputFile&&) = delete;

    // False once something could not be written; commit() says what.
    bool write(std::string_view text);
    // For who writes by other means; false: it is no file of its own, but a device or pipe.
    int fd() const { return fd_; }
    bool is_new() const { return temporary_ != nullptr; }
    // Makes what was written the file of that name.
    Expected<void> commit();

private:
    OutputFile() = default;

    std::string path_;                        // as it was given
    std::string target_;                      // where that leads to
    std::unique_ptr<std::string> temporary_;  // what is written to until commit(); null if directly
    int fd_ = -1;
    int error_ = 0;
};

// The file descriptor that `path` is a name of: of standard output or error, whatever they lead to, or by number.
std::optional<int> open_stream_at(const std::string& path);

// Takes away what has not been committed, for who ends the process at once. Safe in a signal handler.
void remove_unfinished_files();

}  // namespace dualvm::app
