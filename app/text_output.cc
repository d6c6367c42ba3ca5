#include "text_output.h"

#include "messages.h"

namespace dualvm::app {

namespace {
constexpr std::size_t kBuffer = 16384;
}

Expected<std::unique_ptr<TextOutput>> TextOutput::open(const std::string& path) {
    auto output = std::make_unique<TextOutput>();
    if (!path.empty()) {
        auto file = OutputFile::create(path);
        if (!file) return tl::unexpected(file.error());
        output->file_.emplace(std::move(*file));
    }
    return output;
}

bool TextOutput::line(std::string_view text) {
    buffer_ += text;
    buffer_ += '\n';
    if (buffer_.size() >= kBuffer) flush();
    return result_.has_value() && !file_failed_;
}

void TextOutput::flush() {
    if (file_) {
        file_failed_ = !file_->write(buffer_);  // commit() tells why
    } else if (result_) {
        result_ = print(buffer_);
    }
    buffer_.clear();
}

Expected<void> TextOutput::finish() {
    flush();
    if (file_) return file_->commit();
    return result_;
}

}  // namespace dualvm::app
