// Makes a failing case small: fewer instructions first, then a simpler state, as long as it still fails in the same
// way.
#pragma once

#include <functional>

#include "analysis.h"

namespace dualvm::study {

// Does this case still show the difference?
using StillFails = std::function<bool(const Case&)>;

Case shrink(const Analyser& analyser, const Case& failing, const StillFails& still_fails);

}  // namespace dualvm::study
