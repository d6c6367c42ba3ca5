// Reads what firmware says of its work, for the one line after which nothing more comes: that it has found nothing to
// boot from. SeaBIOS then waits for ever, and its screen is not shown unless somebody asked for it.
#pragma once

#include <string>

#include "dualvm/types.h"
#include "options.h"

namespace dualvm::app {

class FirmwareWatch {
public:
    // True when this byte ended the line.
    bool take(u8 byte);
    bool nothing_to_boot() const { return nothing_to_boot_; }
    // What to tell the user then.
    static std::string what_is_wanted(const GuestOptions& guest);

private:
    std::string line_;
    bool nothing_to_boot_ = false;
};

}  // namespace dualvm::app
