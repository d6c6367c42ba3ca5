// What is said when a run is over.
#pragma once

#include <string>

#include "dualvm/run_loop.h"
#include "dualvm/study/disassembler.h"
#include "guest.h"
#include "json_report.h"
#include "messages.h"

namespace dualvm::app {

// Why the run ended, for people: nothing for a guest that ended by itself; registers and the instruction where it
// failed.
void report_end(const RunResult& result, Guest& guest, study::Syntax syntax, const Messages& messages);

// What --stats prints.
std::string statistics_text(const RunResult& result, Guest& guest);

// What --json writes.
Json run_json(const RunResult& result, Guest& guest, const EngineChoice& choice, const Options& options);

}  // namespace dualvm::app
