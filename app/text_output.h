// Lines to standard output, or to a file that is written whole or not at all (-o).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "output_file.h"

namespace dualvm::app {

class TextOutput {
public:
    static Expected<std::unique_ptr<TextOutput>> open(const std::string& path);  // empty: standard output

    // False once something could not be written; finish() says what.
    bool line(std::string_view text);
    Expected<void> finish();

private:
    void flush();

    std::optional<OutputFile> file_;
    std::string buffer_;
    Expected<void> result_;
    bool file_failed_ = false;
};

}  // namespace dualvm::app
