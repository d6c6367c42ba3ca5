// How options may be spelled: QEMU's fingers type `-kernel X`, everybody else's `--kernel X` or `--kernel=X`.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::app {

// Rewrites `words`, the arguments behind the name of `command`, into the one spelling that CLI11 reads: two dashes, a
// value as a word of its own. On a mistake (no such option, no value), what is wrong and what may have been meant.
tl::expected<std::vector<std::string>, std::string> in_one_spelling(const CLI::App& command,
                                                                    const std::vector<std::string>& words);

}  // namespace dualvm::app
