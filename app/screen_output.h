// The guest's screen as it was at the end: as text, and as a picture.
#pragma once

#include <optional>

#include "dualvm/devices/vga.h"
#include "options.h"
#include "output_file.h"

namespace dualvm::app {

// What --screen=text prints: the text, or in a line what is shown instead.
std::string screen_text(const devices::Screen& screen);

class ScreenOutput {
public:
    // Opens the file of --screen=png:FILE, if there is one.
    static Expected<ScreenOutput> open(const ScreenOptions& options);
    // Writes the picture; nothing to do without a file.
    Expected<void> finish(const devices::Vga& vga);

private:
    std::optional<OutputFile> png_;
};

}  // namespace dualvm::app
