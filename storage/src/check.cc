#include "dualvm/storage/check.h"

#include "qcow2_image.h"
#include "qcow_image.h"

namespace dualvm::storage {

void CheckReport::corruption(std::string text) {
    if (messages.size() < kMostMessages) messages.push_back("error: " + std::move(text));
    ++corruptions;
}

void CheckReport::leak(std::string text) {
    if (messages.size() < kMostMessages) messages.push_back("leak: " + std::move(text));
    ++leaks;
}

Expected<CheckReport> check_image(File& file, std::optional<Format> format, Repair repair) {
    const auto what = format ? Expected<Format>(*format) : probe_format(file);
    if (!what) return tl::unexpected(what.error());
    switch (*what) {
        case Format::Qcow: return check_qcow(file);
        case Format::Qcow2: return check_qcow2(file, repair);
        case Format::Raw: break;
    }
    // There is nothing in it that could be wrong.
    const auto size = file.size();
    if (!size) return tl::unexpected(size.error());
    CheckReport report;
    report.image_end = *size;
    return report;
}

}  // namespace dualvm::storage
