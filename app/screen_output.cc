#include "screen_output.h"

#include <fmt/format.h>

#include "png_file.h"

namespace dualvm::app {

std::string screen_text(const devices::Screen& screen) {
    using Kind = devices::Screen::Kind;
    if (screen.kind == Kind::Text) return screen.text();
    if (screen.kind == Kind::Blank) return "(the screen is switched off)\n";
    return fmt::format("(graphics mode: {} x {} pixels of {} bit{}; --screen=png:FILE makes a picture)\n", screen.width,
                       screen.height, screen.bits_per_pixel, screen.bits_per_pixel == 1 ? "" : "s");
}

Expected<ScreenOutput> ScreenOutput::open(const ScreenOptions& options) {
    ScreenOutput output;
    if (options.png_path.empty()) return output;
    auto file = OutputFile::create(options.png_path);
    if (!file) return tl::unexpected(file.error());
    output.png_.emplace(std::move(*file));
    return output;
}

Expected<void> ScreenOutput::finish(const devices::Vga& vga) {
    if (!png_) return {};
    devices::Picture picture = vga.picture();
    if (picture.rgb.empty()) {  // switched off: a monitor is black then
        picture = {.width = 720, .height = 400, .rgb = {}};
        picture.rgb.resize(std::size_t{picture.width} * picture.height * 3);
    }
    const auto bytes = encode_png(picture);
    if (!bytes) return tl::unexpected(bytes.error());
    png_->write(*bytes);
    return png_->commit();
}

}  // namespace dualvm::app
