// Pictures as PNG files (Portable Network Graphics, ISO/IEC 15948).
#pragma once

#include <string>

#include "dualvm/devices/picture.h"

namespace dualvm::app {

// The whole file's bytes. The picture must not be empty.
Expected<std::string> encode_png(const devices::Picture& picture);

}  // namespace dualvm::app
