// A file that is written whole or not at all: it gets its name when all of it is there.
#pragma once

#include <string>
#include <string_view>

#include "dualvm/types.h"

namespace dualvm::app {

class OutputFile {
public:
    // Opens it for writing, so that one that can't be written is known before any work is done. What goes by that name
    // now stays until commit(). Devices and pipes are written to directly.
    static Expected<OutputFile> create(const std::string& path);
    ~OutputFile();
    OutputFile(OutputFile&& other) noexcept;
    OutputFile& operator=(OutputFile&&) = delete;

    // False once something could not be written; commit() says what.
    bool write(std::string_view text);
    // For who writes by other means; false: it is no file of its own, but a device or pipe.
    int fd() const { return fd_; }
    bool is_new() const { return !temporary_.empty(); }
    // Makes what was written the file of that name.
    Expected<void> commit();

private:
    OutputFile() = default;

    std::string path_;       // as it was given
    std::string target_;     // where that leads to
    std::string temporary_;  // what is written to until commit(); empty if directly
    int fd_ = -1;
    int error_ = 0;
};

}  // namespace dualvm::app
