#include "watched_disk.h"

namespace dualvm::app {

Expected<void> WatchedDisk::watched(Expected<void> done, bool& told) {
    if (!done && !told) {
        told = true;
        if (tell_) tell_(done.error().text + " (the guest gets an I/O error; more of the kind are not told)");
    }
    return done;
}

}  // namespace dualvm::app
