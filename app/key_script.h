// What --sendkeys says, as steps: keys to press, and what to wait for in between.
//
// Characters are typed as on a US keyboard. Between < and > stands a key ("ret", "f1"), several to be held together
// ("ctrl-alt-del"), one to be pressed several times ("down*3"), or something else to do ("wait:2s", "screen:TEXT").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dualvm/clock.h"
#include "dualvm/devices/keys.h"
#include "values.h"

namespace dualvm::app {

struct KeyStep {
    enum class Kind : u8 {
        Keys,    // press `keys` in their order, then let go
        Wait,    // for `time`
        Pace,    // from now on, `time` from key to key
        Screen,  // until `text` stands somewhere on a line of the screen
        Prompt,  // until `text` stands left of the cursor
        Move,    // the mouse, by right and up
        Click    // the mouse's `button`
    };
    Kind kind = Kind::Keys;
    std::vector<devices::Key> keys{};
    Nanoseconds time = 0;
    std::string text{};
    int right = 0, up = 0;
    u8 button = 0;
    std::string source{};  // as it was written
};

using KeyScript = std::vector<KeyStep>;

// The script itself, or @ and the name of a file with one, where lines that begin with # are comments. An error in it
// shows the place.
Expected<KeyScript> load_key_script(const std::string& option);

}  // namespace dualvm::app
