#include "png_file.h"

#include <fmt/format.h>
#include <png.h>

namespace dualvm::app {

Expected<std::string> encode_png(const devices::Picture& picture) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = picture.width;
    image.height = picture.height;
    image.format = PNG_FORMAT_RGB;
    const auto failed = [&image] {
        return fail(ExitStatus::BadImage, fmt::format("cannot make a PNG of {} x {} pixels: {}", image.width,
                                                      image.height, static_cast<const char*>(image.message)));
    };
    // Asked without a buffer first, libpng says how much it needs.
    png_alloc_size_t size = 0;
    if (png_image_write_to_memory(&image, nullptr, &size, 0, picture.rgb.data(), 0, nullptr) == 0) return failed();
    std::string bytes(size, '\0');
    if (png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.rgb.data(), 0, nullptr) == 0) return failed();
    bytes.resize(size);
    return bytes;
}

}  // namespace dualvm::app
