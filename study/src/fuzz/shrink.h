// Makes a failing case small: fewer instructions first, then a simpler state, as long as it still fails in the same
// way.
#pragma once

#include <functional>
#include <optional>

#include "analysis.h"

namespace dualvm::study {

// Does this case still show the difference?
using StillFails = std::function<bool(const Case&)>;

// What is left of the case when its first instruction, of so many bytes, has run: the rest, and the state it then
// starts from. Nothing if that instruction does not lead to the next.
using WithoutFirst = std::function<std::optional<Case>(const Case&, unsigned bytes)>;

Case shrink(const Analyser& analyser, const Case& failing, const StillFails& still_fails,
            const WithoutFirst& without_first);

}  // namespace dualvm::study
